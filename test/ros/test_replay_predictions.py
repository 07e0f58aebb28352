"""Frames and their predictions, without ROS."""

import threading

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_ros.replay.predictions import Predictions, summary_text


class EndedError(Exception):
    pass


def connected() -> Predictions:
    made = Predictions(lambda: None)
    made.add_topic("/depth")
    return made


def test_predictions_find_the_oldest_open_frame_of_their_stamp() -> None:
    some = connected()
    first, second, other = (some.expect(stamp) for stamp in (5, 5, 6))
    some.record("/depth", 5, depth=True)
    assert (first.latency is None, second.latency is None) == (False, True)
    some.record("/depth", 7, depth=True)
    assert other.latency is None
    assert (some.summary()["sent"], some.summary()["answered"]) == (3, 1)
    assert some.slowest() == first.latency
    assert summary_text(some.summary()).startswith("1 of 3 frames predicted, latency ")


def test_removed_frames_get_no_prediction() -> None:
    some = connected()
    old = some.expect(5)
    some.forget()
    new = some.expect(5)
    some.record("/depth", 5, depth=True)
    assert old.latency is None
    assert new.latency is not None
    assert some.summary()["sent"] == 1


def test_a_wait_ends_with_the_prediction() -> None:
    some = connected()
    frame = some.expect(5)
    timer = threading.Timer(0.05, some.record, ("/depth", 5), {"depth": True})
    timer.start()
    assert some.wait(frame, 60)
    assert some.wait_for_all(frame, 60)
    timer.join()


def test_a_wait_ends_with_its_time() -> None:
    some = connected()
    assert not some.wait(some.expect(5), 0.01)
    assert not some.wait(some.expect(5), -1)


def test_a_wait_ends_where_it_is_told_to() -> None:
    def check() -> None:
        raise EndedError

    some = Predictions(check)
    with pytest.raises(EndedError):
        some.wait(some.expect(5), 600)
