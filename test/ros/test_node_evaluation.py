"""Predictions of a node, matched with the images of the bag that it received."""

import numpy as np
import pytest

from depthformer_core.bags import BagReader, BagWriter
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.messages import depth_message, image_message
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_ros.replay.node_evaluation import _PredictedFrames

START = 1_700_000_000_000_000_000
STEP = 100_000_000
TOPIC = "/depth/image_rect"


def rgb(index):
    return np.full((4, 6, 3), index, np.uint8)


def bag_of(path, stamps, *, broken=()):
    with BagWriter(path) as writer:
        for index, stamp in enumerate(stamps):
            message = image_message(rgb(index), stamp=stamp, frame_id="eye")
            if index in broken:
                message.data = message.data[:5]
            writer.write("/image", message, stamp=START + index * STEP)
    return BagFrames(path)


def pairs(tmp_path, stamps, predicted, *, broken=(), strangers=()):
    """Images of the stream, by number, with the number in the depth of their predictions."""
    with BagWriter(tmp_path / "answers") as writer:
        for count, index in enumerate(predicted):
            for stranger in strangers:
                values = np.full((4, 6), -1, np.float32)
                message = depth_message(values, stamp=stranger, frame_id="eye")
                writer.write(TOPIC, message, stamp=START + count)
            values = np.full((4, 6), index, np.float32)
            message = depth_message(values, stamp=stamps[index], frame_id="eye")
            writer.write(TOPIC, message, stamp=START + count)
    sent = [
        {"stamp": stamp, "latency": 0.1 if index in predicted else None}
        for index, stamp in enumerate(stamps)
    ]
    frames = bag_of(tmp_path / "bag", stamps, broken=broken)
    with BagReader(tmp_path / "answers") as predictions:
        stream = _PredictedFrames(frames, predictions, sent, topic=TOPIC)
        found = [
            (int(item.frame.rgb[0, 0, 0]), int(stream.prediction(item)[0, 0])) for item in stream
        ]
    assert stream.frames_read == len(found)
    return found


REGULAR = [START + index * STEP for index in range(5)]


@pytest.mark.parametrize(
    ("stamps", "options", "wanted"),
    [
        pytest.param(REGULAR, {}, [0, 1, 2, 3, 4], id="all"),
        pytest.param(REGULAR, {"predicted": [1, 4]}, [1, 4], id="some"),
        pytest.param(REGULAR, {"broken": [0, 2]}, [1, 3, 4], id="predicted but unusable here"),
        pytest.param(REGULAR, {"strangers": [START - STEP]}, [0, 1, 2, 3, 4], id="of others"),
        pytest.param([0] * 5, {}, [0, 1, 2, 3, 4], id="no stamps"),
        pytest.param(REGULAR[3:] + REGULAR[:3], {}, [0, 1, 2, 3, 4], id="a new run"),
        pytest.param(REGULAR[:2] + REGULAR[:3], {}, [0, 1, 2, 3, 4], id="the same again"),
    ],
)
def test_each_image_gets_its_own_prediction(tmp_path, stamps, options, wanted):
    predicted = {"predicted": range(5), **options}
    assert pairs(tmp_path, stamps, **predicted) == [(index, index) for index in wanted]


def test_equal_stamps_of_which_some_have_no_prediction(tmp_path):
    with pytest.raises(ReplayError, match="5 images have but 1 stamps, and 2 have no prediction"):
        pairs(tmp_path, [0] * 5, predicted=[0, 1, 3])
