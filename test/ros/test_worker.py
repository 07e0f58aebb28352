import threading
import time

import pytest

from depthformer_ros.node.worker import Worker


def test_newest_image_wins_while_one_is_handled() -> None:
    worker: Worker[int] = Worker()
    handled: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def handle(image: int) -> None:
        begun.set()
        go_on.wait(10)
        handled.append(image)

    worker.serve(handle)
    assert worker.put(1) is None
    assert begun.wait(10)
    assert [worker.put(image) for image in (2, 3, 4)] == [None, 2, 3]
    go_on.set()
    while len(handled) < 2:
        time.sleep(0.01)
    assert handled == [1, 4]
    assert worker.close(10)


def test_images_are_refused_before_and_after() -> None:
    worker: Worker[int] = Worker()
    assert worker.put(1) == 1
    worker.serve([].append)
    assert worker.rest() is None
    assert worker.put(2) == 2
    assert worker.close(10)
    assert worker.put(3) == 3


def test_rest_waits_for_the_current_image_and_returns_the_next() -> None:
    worker: Worker[int] = Worker()
    handled: list[int] = []
    begun = threading.Event()

    def handle(image: int) -> None:
        begun.set()
        time.sleep(0.2)
        handled.append(image)

    worker.serve(handle)
    worker.put(1)
    assert begun.wait(10)
    worker.put(2)
    assert worker.rest() == 2
    assert handled == [1]
    assert worker.close(10)


def test_jobs_run_on_one_thread_and_raise_where_they_are_waited_for() -> None:
    worker: Worker[int] = Worker()
    threads = {worker.do(threading.get_ident) for _ in range(3)}
    images: list[int] = []
    handled = threading.Event()

    def handle(image: int) -> None:
        images.append(threading.get_ident() * image)
        handled.set()

    worker.serve(handle)
    worker.put(1)
    assert handled.wait(10)
    assert threads == set(images)
    assert threads != {threading.get_ident()}
    with pytest.raises(ZeroDivisionError):
        worker.do(lambda: 1 // 0)
    assert worker.do(lambda: 7) == 7
    assert worker.close(10)
    with pytest.raises(RuntimeError, match="closed"):
        worker.do(lambda: 7)


def test_what_takes_too_long_is_left_behind() -> None:
    worker: Worker[int] = Worker()
    begun, go_on = threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        go_on.wait(10)

    threading.Thread(target=worker.do, args=(job,), daemon=True).start()
    assert begun.wait(10)
    assert not worker.close(0.1)
    go_on.set()


def test_no_image_is_lost_or_handled_twice() -> None:
    worker: Worker[int] = Worker()
    handled: list[int] = []
    worker.serve(handled.append)
    refused = [image for item in range(1, 2001) if (image := worker.put(item)) is not None]
    last = worker.rest()
    rest = [] if last is None else [last]
    assert sorted(handled + refused + rest) == list(range(1, 2001))
    assert handled == sorted(handled)
    assert worker.close(10)
