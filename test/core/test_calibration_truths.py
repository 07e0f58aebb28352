"""What depth is compared with: LiDAR, tape, the height of the camera."""

import numpy as np
import pytest

from depthformer_core.calibration.truths import (
    CameraHeight,
    Distance,
    MeasuredDepth,
    TapeDistances,
)
from depthformer_core.data.dataset import Frame
from depthformer_core.errors import DepthFormerError
from depthformer_core.inference.rotate import rotate_image
from depthformer_core.synthetic import Drive, street_camera

CAMERA = street_camera(310, 94, focal=180.4)
FIVE = ((7.0, 90, 40), (10.0, 70, 60), (15.0, 50, 100), (25.0, 40, 150), (40.0, 20, 200))


@pytest.fixture(scope="module")
def frames():
    """Images of a generated drive with exact depth."""
    drive = Drive(13, frames=6, camera=CAMERA, rate=0.5)
    made = []
    for index in range(6):
        rgb, depth = drive.picture(index)
        made.append(Frame(str(index), rgb, np.where(np.isfinite(depth), depth, 0), CAMERA))
    return made


def bend(depth):
    return np.where(depth > 0, 1.3 * depth + 0.5, np.nan).astype(np.float32)


def scene(distances):
    """Depth of a still camera with patches at known distances."""
    depth = np.full((94, 310), 12.0, np.float32)
    for metres, row, column in distances:
        depth[row - 3 : row + 4, column - 3 : column + 4] = metres
    return depth


def still(distances, predict, *, images=5):
    """A calibration by tape before a still scene."""
    exact = scene(distances)
    truth = TapeDistances([Distance(row, column, metres) for metres, row, column in distances])
    frame = Frame("a", np.zeros((94, 310, 3), np.uint8), None, CAMERA)
    for number in range(images):
        truth.add(frame, predict(exact, np.random.default_rng(number)))
    return truth


def test_bent_depth_by_measured_depth(frames):
    truth = MeasuredDepth("exact", images=len(frames), max_depth=80)
    for frame in frames:
        truth.add(frame, bend(frame.depth))
    choice = truth.choose()
    assert choice.taken == "factor and offset"
    depth = np.linspace(7, 60, 50, dtype=np.float32)
    assert choice.correction.apply(bend(depth)) == pytest.approx(depth, rel=0.02)
    assert truth.images == len(frames)
    assert truth.pairs > 1000
    assert len(truth.samples().true) <= 20_000


def test_too_few_images_with_truth(frames):
    truth = MeasuredDepth("exact", images=4, max_depth=80)
    for frame in frames[:4]:
        truth.add(frame, frame.depth)
    truth.add(Frame("b", frames[0].rgb, None, CAMERA), frames[0].depth)
    with pytest.raises(DepthFormerError, match=r"4 images have .* needs 5 or more"):
        truth.choose()


def noisy(depth, rng):
    return (bend(depth) * np.exp(0.02 * rng.normal(size=depth.shape))).astype(np.float32)


@pytest.mark.parametrize("predict", [lambda depth, _: bend(depth), noisy], ids=["exact", "noisy"])
def test_bent_depth_by_five_distances(predict):
    truth = still(FIVE, predict)
    choice = truth.choose()
    assert choice.taken == "factor and offset"
    depth = np.linspace(7, 40, 50, dtype=np.float32)
    assert choice.correction.apply(bend(depth)) == pytest.approx(depth, rel=0.05)
    assert (truth.images, truth.pairs, truth.notes()) == (5, 5, [])


def test_five_right_distances_are_left_alone():
    choice = still(FIVE, lambda depth, rng: depth * np.float32(1 + 0.02 * rng.normal())).choose()
    assert choice.correction is None


def test_distances_all_alike_give_one_factor():
    distances = tuple((metres, row, column) for (_, row, column), metres in
                      zip(FIVE, (10.0, 10.5, 11.0, 11.5, 12.0), strict=True))  # fmt: skip
    choice = still(distances, lambda depth, _: bend(depth)).choose()
    assert [trial.name for trial in choice.trials] == ["none", "one factor"]
    assert choice.taken == "one factor"


def test_one_distance():
    truth = still(FIVE[:1], lambda depth, rng: depth * np.float32(1.3 + 0.01 * rng.normal()))
    choice = truth.choose()
    assert choice.correction.corrected == pytest.approx((1 / 1.3,), rel=0.02)
    assert choice.in_sample
    ((low, high),) = choice.interval
    assert low < choice.correction.corrected[0] < high < 1.05 * low
    assert "nothing can be held out" in truth.notes()[0]


def test_one_distance_that_is_nearly_right():
    choice = still(FIVE[:1], lambda depth, _: depth * np.float32(1.05)).choose()
    assert choice.correction is None
    assert "changes depth by less than 8%" in choice.trials[1].verdict


def test_two_distances_that_contradict():
    def predict(depth, _):
        return np.where(depth < 8, 1.4 * depth, 0.7 * depth).astype(np.float32)

    choice = still(FIVE[:2], predict).choose()
    assert choice.correction is None
    assert "includes 1" in choice.trials[1].verdict


def test_a_camera_that_moves():
    truth = still(FIVE, lambda depth, rng: depth * np.float32(1.5 + rng.random()))
    assert "did the camera or the scene move?" in truth.notes()[0]


def test_distances_where_nothing_is_predicted():
    truth = still(FIVE[:1], lambda depth, _: np.full_like(depth, np.nan))
    with pytest.raises(DepthFormerError, match="row 90, column 40 has no predicted depth"):
        truth.choose()
    with pytest.raises(DepthFormerError, match="row 94, column 3 is outside a of 310x94"):
        TapeDistances([Distance(94, 3, 5.0)]).add(
            Frame("a", np.zeros((94, 310, 3), np.uint8), None, CAMERA), scene(FIVE)
        )
    with pytest.raises(DepthFormerError, match="no image"):
        TapeDistances([Distance(3, 3, 5.0)]).choose()


@pytest.mark.parametrize("values", [(-1, 0, 1.0), (0, -1, 1.0), (0, 0, 0.0), (0, 0, np.nan)])
def test_what_is_no_distance(values):
    with pytest.raises(DepthFormerError, match="positive metres, got"):
        Distance(*values)


def test_camera_height(frames):
    truth = CameraHeight(1.65)
    for frame in frames:
        depth = frame.depth.astype(np.float32)
        truth.add(frame, np.where(depth > 0, 1.3 * depth, np.nan).astype(np.float32))
    choice = truth.choose()
    assert choice.correction.corrected == pytest.approx((1 / 1.3,), rel=0.05)
    ((low, high),) = choice.interval
    assert low <= choice.correction.corrected[0] <= high


def test_a_right_camera_height_is_left_alone(frames):
    truth = CameraHeight(1.65)
    for frame in frames:
        truth.add(frame, frame.depth.astype(np.float32))
    assert truth.choose().correction is None


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_the_height_of_a_rotated_camera(frames, degrees):
    truth, upright = CameraHeight(1.65, rotate=degrees), CameraHeight(1.65)
    for frame in frames:
        depth = (1.3 * frame.depth).astype(np.float32)
        upright.add(frame, depth)
        camera = frame.camera.rotated(-degrees)
        truth.add(Frame(frame.file, frame.rgb, None, camera), rotate_image(depth, -degrees))
    corrected, expected = truth.choose().correction, upright.choose().correction
    assert corrected.corrected == pytest.approx(expected.corrected, rel=0.02)


def test_images_without_ground():
    truth = CameraHeight(1.65)
    for name in "abcdef":
        frame = Frame(name, np.zeros((94, 310, 3), np.uint8), None, CAMERA)
        truth.add(frame, np.full((94, 310), np.nan, np.float32))
    assert truth.notes() == ["No ground was found in 6 of 6 images."]
    with pytest.raises(DepthFormerError, match="ground was found in 0 of 6 images"):
        truth.choose()
    with pytest.raises(DepthFormerError, match="must be positive, got -1"):
        CameraHeight(-1.0)
    with pytest.raises(DepthFormerError, match="b has no camera"):
        truth.add(Frame("b", np.zeros((4, 4, 3), np.uint8), None, None), np.ones((4, 4)))
