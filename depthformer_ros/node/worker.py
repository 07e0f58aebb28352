"""The thread that owns the device: it runs jobs, and handles the newest image."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Worker(Generic[T]):
    """Runs jobs one by one on a thread of its own, until closed.

    All use of the device happens here: CUDA graphs belong to the thread that captured them.
    Jobs come before images. One image waits; a newer one supersedes it. Safe to use from several
    threads.

    Args:
        interruptible: Context of every wait for a job.
    """

    def __init__(
        self, interruptible: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._interruptible = interruptible
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._handle: Callable[[T], None] | None = None
        self._image: T | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], R]) -> R:
        """Run a job on the thread and wait for it.

        Returns:
            The result of the job.

        Raises:
            RuntimeError: The worker is closed.
            Exception: The error of the job.
        """
        future: Future[R] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the worker is closed")
            self._jobs.append((job, future))
            self._changed.notify_all()
        with self._interruptible():
            return future.result()

    def serve(self, handle: Callable[[T], None]) -> None:
        """Pass images to a function from now on; it must not raise."""
        with self._changed:
            self._handle = handle

    def rest(self) -> T | None:
        """Accept no more images, and wait until the current one is handled.

        Returns:
            The waiting image, or None.
        """
        with self._changed:
            image, self._image, self._handle = self._image, None, None
        self.do(lambda: None)
        return image

    def put(self, image: T) -> T | None:
        """Put an image, if images are accepted.

        Returns:
            The image that will not be handled: the superseded one, the given one, or None.
        """
        with self._changed:
            if self._closed or self._handle is None:
                return image
            replaced, self._image = self._image, image
            self._changed.notify_all()
            return replaced

    def close(self, timeout: float) -> bool:
        """End the thread after its current job; cancel the waiting jobs.

        Args:
            timeout: Longest wait, seconds.

        Returns:
            Whether the thread ended.
        """
        with self._changed:
            self._closed = True
            self._image = self._handle = None
            for _, future in self._jobs:
                future.cancel()
            self._jobs.clear()
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._jobs or self._image is not None or self._closed
                )
                if self._closed:
                    return
                job = self._jobs.popleft() if self._jobs else None
                image, handle = None, self._handle
                if job is None:
                    image, self._image = self._image, None
            if job is not None:
                _do(*job)
            elif image is not None and handle is not None:
                handle(image)


def _do(job: Callable[[], Any], future: "Future[Any]") -> None:
    # An error's traceback keeps this frame, and its local names, alive: there are none.
    try:
        result = job()
    except BaseException as error:  # noqa: BLE001  # raised by the waiting thread
        future.set_exception(error)
    else:
        future.set_result(result)
