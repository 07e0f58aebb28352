import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthformer_core.replay.matching import StampMatcher

MS = 1_000_000


def play(events, *, tolerance=50, patience=1000, images=16, truths=32):
    """Pairs of a stream of (kind, stamp, time of recording) in ms, and when each was given."""
    matcher = StampMatcher(
        tolerance=tolerance * MS, patience=patience * MS, images=images, truths=truths
    )
    given_at = []
    for kind, stamp, recorded in events:
        add = matcher.add_image if kind == "image" else matcher.add_truth
        pairs = add(stamp, stamp=stamp * MS, recorded=recorded * MS)
        given_at += [(*pair, recorded) for pair in pairs]
    given_at += [(*pair, "end") for pair in matcher.rest()]
    return given_at, matcher


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
    assert (matcher.hurried, matcher.dropped) == (6, 0)
    events = [*(("truth", index, index) for index in range(10)), ("image", 9, 10)]
    pairs, matcher = play(events, truths=4, tolerance=0)
    assert pairs == [(9, 9, 10)]
    assert (matcher.hurried, matcher.dropped) == (0, 6)


@given(
    images=st.lists(st.integers(0, 3000), max_size=12, unique=True),
    truths=st.lists(st.integers(0, 3000), max_size=25, unique=True),
    delay=st.integers(0, 900),
)
def test_same_as_looking_at_all_at_once(images, truths, delay):
    """Regular streams with truth recorded late give each image its nearest truth."""
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
