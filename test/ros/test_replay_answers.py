"""Frames and their answers, without ROS."""

import threading

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_ros.replay.answers import Answers, in_words


class EndedError(Exception):
    pass


def answers() -> Answers:
    made = Answers(lambda: None)
    made.listen("/depth")
    return made


def test_answers_find_the_oldest_open_frame_of_their_stamp() -> None:
    some = answers()
    first, second, other = (some.expect(stamp) for stamp in (5, 5, 6))
    some.note("/depth", 5, answer=True)
    assert (first.latency is None, second.latency is None) == (False, True)
    some.note("/depth", 7, answer=True)
    assert other.latency is None
    assert (some.summary()["sent"], some.summary()["answered"]) == (3, 1)
    assert some.slowest() == first.latency
    assert in_words(some.summary()).startswith("1 of 3 frames answered, latency ")


def test_what_is_forgotten_is_answered_no_more() -> None:
    some = answers()
    old = some.expect(5)
    some.forget()
    new = some.expect(5)
    some.note("/depth", 5, answer=True)
    assert old.latency is None
    assert new.latency is not None
    assert some.summary()["sent"] == 1


def test_a_wait_ends_with_the_answer() -> None:
    some = answers()
    frame = some.expect(5)
    timer = threading.Timer(0.05, some.note, ("/depth", 5), {"answer": True})
    timer.start()
    assert some.wait(frame, 60)
    assert some.wait_for_all(frame, 60)
    timer.join()


def test_a_wait_ends_with_its_time() -> None:
    some = answers()
    assert not some.wait(some.expect(5), 0.01)
    assert not some.wait(some.expect(5), -1)


def test_a_wait_ends_where_it_is_told_to() -> None:
    def check() -> None:
        raise EndedError

    some = Answers(check)
    with pytest.raises(EndedError):
        some.wait(some.expect(5), 600)
