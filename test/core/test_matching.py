import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthformer_core.replay.matching import StampMatcher

MS = 1_000_000


def play_groups(events, *, tolerance=50, patience=1000, images=16, truths=32, **options):
    """Images of a stream of (kind, stamp, time of recording) in ms, with truths and times.

    The kind "look" calls the function that is its stamp.
    """
    matcher = StampMatcher(
        tolerance=tolerance * MS, patience=patience * MS, images=images, truths=truths, **options
    )
    given_at = []
    for kind, stamp, recorded in events:
        if kind == "look":
            stamp()
            groups = matcher.release(recorded * MS)
        else:
            add = matcher.add_image if kind == "image" else matcher.add_truth
            groups = add(stamp, stamp=stamp * MS, recorded=recorded * MS)
        given_at += [(*group, recorded) for group in groups]
    given_at += [(*group, "end") for group in matcher.rest()]
    return given_at, matcher


def play(events, **options):
    """The same with the one truth of each image, or none."""
    groups, matcher = play_groups(events, **options)
    pairs = [(image, *(truths or [None]), at) for image, truths, at in groups]
    return pairs, matcher


@pytest.mark.parametrize(
    ("events", "pairs"),
    [
        pytest.param(
            [("truth", 0, 0), ("image", 0, 0)], [(0, 0, 0)], id="truth first"
        ),
        pytest.param(
            [("image", 0, 0), ("truth", 0, 1)], [(0, 0, 1)], id="image first"
        ),
        pytest.param(
            [("truth", 0, 0), ("image", 30, 30), ("truth", 40, 40)],
            [(30, 40, 40)],
            id="the later is nearer",
        ),
        pytest.param(
            [("truth", 0, 0), ("image", 10, 10), ("truth", 40, 40)],
            [(10, 0, 40)],
            id="the earlier is nearer",
        ),
        pytest.param(
            [("truth", 0, 0), ("image", 60, 60), ("truth", 120, 120)],
            [(60, None, 120)],
            id="both too far",
        ),
        pytest.param(
            [("image", 0, 0), ("image", 100, 100), ("image", 200, 200),
             ("truth", 10, 210), ("truth", 110, 310), ("truth", 210, 410)],
            [(0, 10, 210), (100, 110, 310), (200, 210, 410)],
            id="scans recorded late",
        ),
        pytest.param(
            [("image", 0, 0), ("image", 900, 900), ("image", 1100, 1100)],
            [(0, None, 1100), (900, None, "end"), (1100, None, "end")],
            id="no truth comes",
        ),
        pytest.param(
            [("truth", 0, 0), ("image", 20, 20), ("truth", 9000, 9000)],
            [(20, 0, 9000)],
            id="a gap after the image",
        ),
        pytest.param(
            [("truth", 500, 500), ("image", 500, 501), ("image", 0, 600), ("truth", 0, 610)],
            [(500, 500, 501), (0, None, 600)],
            id="stamps start again",
        ),
        pytest.param(
            [("truth", 500, 500), ("truth", 0, 600), ("image", 0, 610), ("image", 100, 700),
             ("truth", 100, 710)],
            [(0, 0, 610), (100, 100, 710)],
            id="after stamps started again",
        ),
    ],
)  # fmt: skip
def test_pairs(events, pairs):
    assert play(events)[0] == pairs


def test_nearest_miss_is_kept():
    _, matcher = play([("truth", 0, 0), ("image", 70, 70), ("image", 90, 90)])
    assert matcher.nearest_miss == 70 * MS


def test_buffers_are_bounded():
    events = [("image", index, index) for index in range(10)]
    pairs, matcher = play(events, images=4)
    assert [at for _, _, at in pairs] == [4, 5, 6, 7, 8, 9, *["end"] * 4]
    assert (matcher.hurried, matcher.missed) == (6, 0)
    events = [("truth", index, index) for index in range(10)]
    events += [("image", 9, 10), ("image", 5, 11), ("image", 6, 12)]
    pairs, matcher = play(events, truths=4, tolerance=0)
    assert pairs == [(9, 9, 10), (5, None, 11), (6, 6, 12)]
    assert (matcher.hurried, matcher.missed) == (0, 1)


def test_fast_truths_that_nobody_lacks_are_dropped_silently():
    """A depth camera of 30 Hz: more than are kept come within the time they are kept for."""
    events = [(kind, stamp, stamp) for stamp in range(0, 3000, 33) for kind in ("truth", "image")]
    pairs, matcher = play(events)
    assert all(image == truth for image, truth, _ in pairs)
    assert (matcher.hurried, matcher.missed, matcher.nearest_miss) == (0, 0, None)


def test_images_of_a_new_run_miss_nothing_of_the_last():
    events = [("truth", 90_000 + index, 90_000 + index) for index in range(6)]
    events += [("image", 0, 90_010), ("truth", 200, 90_210)]
    pairs, matcher = play(events, truths=4)
    assert pairs == [(0, None, 90_010)]
    assert matcher.missed == 0


def regular(*, images=range(0, 1000, 100), truths=range(0, 1000, 100), delay=0):
    """Stream of images, each followed by the truths of its time."""
    events = [("image", stamp, stamp) for stamp in images]
    events += [("truth", stamp, stamp + delay) for stamp in truths]
    return sorted(events, key=lambda event: event[2])


def test_neighbours():
    groups, _ = play_groups(regular(images=(0, 320, 900)), neighbours=2)
    assert groups == [
        (0, [0, 100, 200], 200),
        # 300 is nearest, and two have come after it; that none older than the image is nearer
        # took one more.
        (320, [100, 200, 300, 400, 500], 600),
        (900, [700, 800, 900], "end"),
    ]


def test_neighbours_come_by_stamp_however_they_were_recorded():
    events = [("truth", stamp, index) for index, stamp in enumerate((100, 0, 300, 200, 400))]
    groups, _ = play_groups([*events, ("image", 200, 9)], neighbours=1)
    assert groups[0][:2] == (200, [100, 200, 300])


def test_neighbours_of_no_truth_are_none():
    assert play_groups(regular(images=(150,)), neighbours=2, tolerance=20)[0] == [(150, [], 400)]


def test_patience_ends_the_wait_for_neighbours():
    events = [("truth", 0, 0), ("image", 0, 0), ("truth", 400, 400), ("image", 1100, 1100)]
    groups, _ = play_groups(events, neighbours=3)
    assert groups[0] == (0, [0, 400], 1100)


def test_images_wait_until_the_rest_is_ready():
    calls, known = [], []

    def ready(image, truths):
        calls.append((image, list(truths)))
        return bool(known)

    events = [
        *(("truth", 0, 0), ("image", 0, 1), ("truth", 100, 100)),
        *(("look", lambda: None, 150), ("look", lambda: known.append(1), 160)),
    ]
    groups, _ = play_groups(events, neighbours=1, ready=ready)
    assert groups == [(0, [0, 100], 160)]
    assert calls == [(0, [0, 100])] * 3
    known.clear()
    groups, _ = play_groups([*events[:-1], ("look", lambda: None, 1002)], neighbours=1, ready=ready)
    assert groups == [(0, [0, 100], 1002)]


def test_buffers_are_bounded_with_neighbours():
    events = regular(images=range(0, 100_000, 30), truths=range(0, 100_000, 50), delay=300)
    _, matcher = play_groups(
        events, neighbours=2, images=6, truths=8, ready=lambda *_: False, patience=3000
    )
    # Nothing that it holds grows with the stream.
    held = [value for value in vars(matcher).values() if hasattr(value, "__len__")]
    assert sorted(map(len, held)) == [0, 3, 8]
    assert matcher.hurried > 3000


@given(
    images=st.lists(st.integers(0, 3000), max_size=12, unique=True),
    truths=st.lists(st.integers(0, 3000), max_size=25, unique=True),
    delay=st.integers(0, 900),
)
def test_same_as_looking_at_all_at_once(images, truths, delay):
    """Regular streams with truth recorded late match each image with its nearest truth."""
    events = [("image", stamp, stamp) for stamp in images]
    events += [("truth", stamp, stamp + delay) for stamp in truths]
    events.sort(key=lambda event: event[2])
    pairs, _ = play(events)
    assert [image for image, _, _ in pairs] == sorted(images)
    for image, truth, _ in pairs:
        nearest = min((abs(stamp - image) for stamp in truths), default=None)
        if nearest is None or nearest > 50:
            assert truth is None
        else:
            assert truth is not None
            assert abs(truth - image) == nearest
