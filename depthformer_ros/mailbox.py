"""The one-place slot between the executor and the inference thread."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds one item; a newer one takes the place of one nobody took yet.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Leave an item, unless the mailbox is closed.

        Returns:
            Whether it replaced one that was still waiting.
        """
        with self._changed:
            if self._closed:
                return False
            replaced = self._item is not None
            self._item = item
            self._changed.notify()
            return replaced

    def take(self) -> T | None:
        """Wait for an item and take it.

        Returns:
            The item, or None when the mailbox is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Drop what waits, refuse what comes and wake everybody who waits."""
        with self._changed:
            self._closed = True
            self._item = None
            self._changed.notify_all()
