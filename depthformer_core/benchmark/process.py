"""Processes of a benchmark, one for each baseline."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from depthformer_core.errors import DepthFormerError, first_line


class BenchmarkProcessError(RuntimeError):
    """An exception in the process of a benchmark; the message has its type and its message."""


class BenchmarkProcess:
    """Process of one baseline, as a context manager.

    Baselines run in turns, so that changes in the machine's speed meet all of them. In a process
    of its own each has its own peak of memory.

    Args:
        prepare: Called in the new process; returns a function that does one run there and
            returns the measurement. It is pickled, as are its arguments, those of the runs and the
            measurements.
        *args: Its arguments.
    """

    def __init__(self, prepare: Callable[..., Callable[..., Any]], *args: object) -> None:
        # Spawned: it inherits neither threads nor memory. No daemon: daemons may not start
        # processes to read data.
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(child, prepare, args))
        self._process.start()
        child.close()

    def __enter__(self) -> "BenchmarkProcess":
        """Wait until the preparations are done."""
        try:
            self._receive()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._end()

    def run(self, *args: object) -> Any:
        """Run once.

        Args:
            *args: Arguments of the run.

        Returns:
            Its measurement.

        Raises:
            ValueError: The process died, the GPU's memory did not suffice, or the run raised this.
            OSError: The run raised it.
            BenchmarkProcessError: The run raised any other exception.
        """
        self._pipe.send(args)
        return self._receive()

    def _end(self) -> None:
        self._pipe.close()
        self._process.join(timeout=10)
        self._process.kill()
        self._process.join()

    def _receive(self) -> Any:
        try:
            reply = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise DepthFormerError(
                f"the measuring process died with exit code {self._process.exitcode}; "
                "-9 means it was killed, most often for want of memory"
            ) from None
        if isinstance(reply, Exception):
            raise reply
        return reply


def _serve(
    pipe: Connection, prepare: Callable[..., Callable[..., Any]], args: tuple[object, ...]
) -> None:
    try:
        run = prepare(*args)
    except Exception as error:  # noqa: BLE001  # the other process raises it
        pipe.send(_picklable(error))
        return
    pipe.send(None)
    while True:
        try:
            args = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(run(*args))
        except Exception as error:  # noqa: BLE001  # the other process raises it
            pipe.send(_picklable(error))


def _picklable(error: Exception) -> Exception:
    """Return an exception for the other process, which cannot unpickle every one."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return DepthFormerError(first_line(error))
    if isinstance(error, DepthFormerError | OSError) or type(error) is ValueError:
        return error
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, ValueError):
        return ValueError(message)
    return BenchmarkProcessError(message)
