import dataclasses

import numpy as np
import pytest

from depthformer_core.bags.messages import transforms_message
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.transforms import FrameTree
from depthformer_core.replay.alignment import ImagePlane, misalignment

CAMERA = Camera(640, 480, 615.0, 615.0, 320.0, 240.0)


def tree(*links):
    frames = FrameTree()
    for parent, child, offset in links:
        matrix = np.eye(4)
        matrix[0, 3] = offset
        frames.add(transforms_message([(parent, child, matrix)], stamp=0))
    return frames


@pytest.mark.parametrize(
    ("frames", "links"),
    [
        pytest.param(("color", "color"), [], id="one frame"),
        pytest.param(("color", "/color"), [], id="a leading slash"),
        pytest.param(("", "depth"), [], id="images without a frame"),
        pytest.param(("color", ""), [], id="depth without a frame"),
        pytest.param(("color", "depth"), [("color", "depth", 0.0)], id="two names of a place"),
        pytest.param(
            ("color", "depth"), [("link", "depth", 0.1), ("link", "color", 0.1)], id="over another"
        ),
    ],
)
@pytest.mark.parametrize("camera", [None, CAMERA], ids=["unknown", "known"])
def test_aligned(frames, links, camera):
    image, depth = (ImagePlane(frame, camera) for frame in frames)
    assert misalignment(image, depth, tree(*links)) == ""


@pytest.mark.parametrize(
    "links",
    [
        pytest.param([], id="not connected"),
        pytest.param([("color", "depth", 0.015)], id="15 mm aside"),
    ],
)
def test_another_frame(links):
    reason = misalignment(ImagePlane("color", CAMERA), ImagePlane("depth", CAMERA), tree(*links))
    assert reason == "its frame is 'depth', that of the images 'color'"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"fx": 385.0}, "fx 385.0, that of the images 615.0"),
        ({"fy": 630.0}, "fy 630.0"),
        ({"cx": 335.0}, "cx 335.0"),
        ({"cy": 228.0}, "cy 228.0"),
    ],
)
def test_another_camera(change, text):
    other = dataclasses.replace(CAMERA, **change)
    assert text in misalignment(ImagePlane("eye", CAMERA), ImagePlane("eye", other), tree())


@pytest.mark.parametrize("change", [{"fx": 618.0}, {"cx": 323.0}, {"cy": 240.5}])
def test_rounding_is_no_other_camera(change):
    other = dataclasses.replace(CAMERA, **change)
    assert misalignment(ImagePlane("eye", CAMERA), ImagePlane("eye", other), tree()) == ""


def test_another_size_of_one_camera():
    half = Camera(320, 240, 307.5, 307.5, 160.0, 120.0)
    assert misalignment(ImagePlane("eye", CAMERA), ImagePlane("eye", half), tree()) == ""
