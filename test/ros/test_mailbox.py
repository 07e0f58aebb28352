import threading
import time

from depthformer_ros.mailbox import Mailbox


def test_newest_wins() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert [mailbox.put(item) for item in (1, 2, 3)] == [False, True, True]
    assert mailbox.take() == 3
    assert mailbox.put(4) is False
    assert mailbox.take() == 4


def test_take_waits_for_an_item() -> None:
    mailbox: Mailbox[str] = Mailbox()
    taken: list[str | None] = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()), daemon=True)
    thread.start()
    mailbox.put("frame")
    thread.join(5)
    assert taken == ["frame"]


def test_close_wakes_takers_and_refuses_items() -> None:
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int | None] = [0]
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()), daemon=True)
    thread.start()
    mailbox.close()
    thread.join(5)
    assert not thread.is_alive()
    assert taken == [0, None]
    assert mailbox.put(1) is False
    assert mailbox.take() is None


def test_nothing_is_lost_or_repeated_between_threads() -> None:
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int] = []

    def consume() -> None:
        while (item := mailbox.take()) is not None:
            taken.append(item)

    thread = threading.Thread(target=consume, daemon=True)
    thread.start()
    replaced = sum(mailbox.put(item) for item in range(1, 2001))
    while taken[-1:] != [2000]:
        time.sleep(0.001)
    mailbox.close()
    thread.join(5)
    assert taken == sorted(set(taken))
    assert len(taken) + replaced == 2000
