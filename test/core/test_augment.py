import functools
import itertools

import numpy as np
import pytest

from depthformer_core.data.augment import Augmentation, augment

SIZE = (40, 56)
NYU_BRIGHTNESS = (0.75, 1.25)


@functools.cache
def make_sample(height=60, width=90):
    """Smooth colours and sparse depth with values that identify their pixels."""
    rows, columns = np.mgrid[:height, :width]
    waves = (np.sin(columns / 9 + rows / 31), np.cos(columns / 13), np.sin(rows / 8 - columns / 20))
    rgb = np.rint(127.5 + 127.5 * np.stack(waves, axis=-1)).astype(np.uint8)
    depth = (1 + rows * width + columns).astype(np.float32) / 64
    depth[np.random.default_rng(5).random(depth.shape) < 0.7] = 0
    return rgb, depth


def official_draws(seed, *, margins, brightness=(0.9, 1.1)):
    """The official pipeline's draws, in its order."""
    rng = np.random.default_rng(seed)
    drawn = {"rotate": rng.random() < 0.5, "degrees": rng.uniform(-2.5, 2.5)}
    drawn["flip"] = rng.random() < 0.5
    drawn["top"] = rng.integers(0, margins[0] + 1)
    drawn["left"] = rng.integers(0, margins[1] + 1)
    drawn["colour"] = rng.random() < 0.5
    if drawn["colour"]:
        drawn["gamma"] = rng.uniform(0.9, 1.1)
        drawn["brightness"] = rng.uniform(*brightness)
        drawn["blue_green_red"] = rng.uniform(0.9, 1.1, size=3)
    return drawn


def find_seed(*, margins, brightness=(0.9, 1.1), **wanted):
    """First seed that draws the steps wanted."""
    for seed in itertools.count():
        drawn = official_draws(seed, margins=margins, brightness=brightness)
        if all(drawn[name] == value for name, value in wanted.items()):
            return seed, drawn
    raise AssertionError


def rotate_slowly(rgb, depth, degrees):
    """Look up every pixel of the result in the image that is turned."""
    height, width = depth.shape
    angle = np.deg2rad(degrees)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    turned, turned_depth = np.zeros(rgb.shape), np.zeros_like(depth)
    padded = np.zeros((height + 2, width + 2, 3))
    padded[1:-1, 1:-1] = rgb
    for row, column in itertools.product(range(height), range(width)):
        # Clockwise on a picture with rows downwards, so the source lies counter-clockwise.
        dx, dy = column - middle_x, row - middle_y
        x = np.cos(angle) * dx + np.sin(angle) * dy + middle_x
        y = -np.sin(angle) * dx + np.cos(angle) * dy + middle_y
        left, top = int(np.floor(x)), int(np.floor(y))
        if -1 <= left < width and -1 <= top < height:
            right, down = x - left, y - top
            corners = padded[top + 1 : top + 3, left + 1 : left + 3]
            turned[row, column] = (
                corners[0, 0] * (1 - right) * (1 - down)
                + corners[0, 1] * right * (1 - down)
                + corners[1, 0] * (1 - right) * down
                + corners[1, 1] * right * down
            )
        nearest_x, nearest_y = round(x), round(y)
        if 0 <= nearest_x < width and 0 <= nearest_y < height:
            turned_depth[row, column] = depth[nearest_y, nearest_x]
    return turned, turned_depth


def recolour_slowly(rgb, drawn):
    result = np.empty(rgb.shape)
    for channel, factor in enumerate(reversed(drawn["blue_green_red"])):
        brighter = rgb[..., channel].astype(np.float64) ** drawn["gamma"] * drawn["brightness"]
        result[..., channel] = brighter * factor
    return np.clip(result, 0, 255)


def augment_slowly(rgb, depth, drawn, *, size=SIZE):
    image = rgb.astype(np.float64)
    if drawn["rotate"]:
        image, depth = rotate_slowly(rgb, depth, drawn["degrees"])
    if drawn["flip"]:
        image, depth = np.fliplr(image), np.fliplr(depth)
    rows = np.arange(drawn["top"], drawn["top"] + size[0])
    columns = np.arange(drawn["left"], drawn["left"] + size[1])
    image, depth = image[np.ix_(rows, columns)], depth[np.ix_(rows, columns)]
    return recolour_slowly(image, drawn) if drawn["colour"] else image, depth


def run(rgb, depth, seed, **options):
    options = {"border": "none", "size": SIZE, **options}
    rng = np.random.default_rng(seed)
    return augment(rgb, depth, augmentation=Augmentation(**options), rng=rng)


MARGINS = (60 - 40, 90 - 56)
STEPS = [
    pytest.param(rotate, flip, colour, id="-".join(
        name for name, on in (("rotate", rotate), ("flip", flip), ("colour", colour)) if on
    ) or "crop-alone")
    for rotate, flip, colour in itertools.product((False, True), repeat=3)
]  # fmt: skip


@pytest.mark.parametrize("brightness", [(0.9, 1.1), NYU_BRIGHTNESS], ids=["kitti", "nyu"])
@pytest.mark.parametrize(("rotate", "flip", "colour"), STEPS)
def test_equals_the_slow_way(rotate, flip, colour, brightness):
    rgb, depth = make_sample()
    seed, drawn = find_seed(
        margins=MARGINS, brightness=brightness, rotate=rotate, flip=flip, colour=colour
    )
    wanted, wanted_depth = augment_slowly(rgb, depth, drawn)
    image, truth = run(rgb, depth, seed, brightness=brightness)
    assert (image.dtype, image.shape) == (np.float32, (*SIZE, 3))
    assert (truth.dtype, truth.shape) == (np.float32, SIZE)
    if not rotate:
        np.testing.assert_array_equal(image, wanted.astype(np.float32))
        np.testing.assert_array_equal(truth, wanted_depth)
        return
    # OpenCV rounds to whole grey levels, and places to 1/32 pixel, before the colours change.
    np.testing.assert_allclose(image, wanted, rtol=0, atol=3)
    assert (truth == wanted_depth).mean() > 0.995, "up to ties between two pixels"


@pytest.mark.parametrize(("rotate", "flip", "colour"), STEPS)
def test_probabilities_switch_steps(rotate, flip, colour):
    """A step that comes always or never draws what it would have drawn by chance."""
    rgb, depth = make_sample()
    always = {"rotate": float(rotate), "flip": float(flip), "color": float(colour)}
    for seed in range(8):
        drawn = official_draws(seed, margins=MARGINS)
        image, truth = run(rgb, depth, seed, **always)
        rng = np.random.default_rng(seed)
        # Colours come last, and only where they change are their numbers drawn.
        rng.random(), rng.uniform(), rng.random()
        rng.integers(0, MARGINS[0] + 1), rng.integers(0, MARGINS[1] + 1)
        rng.random()
        drawn |= {"rotate": rotate, "flip": flip, "colour": colour}
        drawn |= {"gamma": rng.uniform(0.9, 1.1), "brightness": rng.uniform(0.9, 1.1)}
        drawn["blue_green_red"] = rng.uniform(0.9, 1.1, size=3)
        wanted, wanted_depth = augment_slowly(rgb, depth, drawn)
        # OpenCV rounds places to 1/32 pixel, which counts at the black border.
        assert (abs(image - wanted) > (3 if rotate else 1e-4)).mean() < 0.005
        assert (truth == wanted_depth).mean() > (0.995 if rotate else 0.999999)


def test_off_only_crops():
    rgb, depth = make_sample()
    for seed in range(20):
        drawn = official_draws(seed, margins=MARGINS)
        image, truth = run(rgb, depth, seed, off=True)
        inside = np.s_[drawn["top"] :, drawn["left"] :]
        np.testing.assert_array_equal(image, rgb[inside][: SIZE[0], : SIZE[1]])
        np.testing.assert_array_equal(truth, depth[inside][: SIZE[0], : SIZE[1]])


def test_ranges_of_the_colours_are_options():
    rgb, depth = make_sample()
    still = {"color": 1.0, "rotate": 0.0, "flip": 0.0}
    for name, limits, change in (
        ("gamma", (0.5, 0.5), lambda values: values**0.5),
        ("brightness", (1.2, 1.2), lambda values: values * 1.2),
        ("channels", (0.7, 0.7), lambda values: values * 0.7),
    ):
        ranges = dict.fromkeys(("gamma", "brightness", "channels"), (1.0, 1.0)) | {name: limits}
        image, _ = run(rgb, depth, 3, **still, **ranges)
        plain, _ = run(rgb, depth, 3, off=True)
        np.testing.assert_allclose(image, np.minimum(change(plain), 255), rtol=1e-6)
    turned = {"degrees": 20.0, "flip": 0.0, "color": 0.0}
    image, _ = run(rgb, depth, 5, rotate=1.0, **turned)
    assert not np.array_equal(image, run(rgb, depth, 5, rotate=0.0, **turned)[0])


def test_seeds_cover_the_draws():
    rgb, depth = make_sample()
    for seed in range(40):
        drawn = official_draws(seed, margins=MARGINS)
        if not drawn["rotate"]:
            wanted, wanted_depth = augment_slowly(rgb, depth, drawn)
            image, truth = run(rgb, depth, seed)
            np.testing.assert_array_equal(image, wanted.astype(np.float32))
            np.testing.assert_array_equal(truth, wanted_depth)


def test_same_seed_same_sample():
    rgb, depth = make_sample()
    before = rgb.copy(), depth.copy()
    for seed in range(8):
        first, second = run(rgb, depth, seed), run(rgb, depth, seed)
        for one, two in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, two)
            assert one.flags["C_CONTIGUOUS"]
            assert not np.shares_memory(one, two)
            assert not np.shares_memory(one, depth)
    np.testing.assert_array_equal(rgb, before[0])
    np.testing.assert_array_equal(depth, before[1])
    assert any((run(rgb, depth, seed)[1] != run(rgb, depth, 0)[1]).any() for seed in range(1, 8))


def test_depth_is_never_mixed():
    rgb, depth = make_sample()
    known = {0.0, *depth.ravel().tolist()}
    for seed in range(30):
        assert set(run(rgb, depth, seed)[1].ravel().tolist()) <= known


def test_colours_stay_in_range():
    rgb, depth = make_sample()
    for seed in range(30):
        image, _ = run(rgb, depth, seed, brightness=NYU_BRIGHTNESS)
        assert image.min() >= 0
        assert image.max() <= 255


def test_corners_that_turn_in_have_no_truth():
    seed, drawn = find_seed(margins=(0, 0), rotate=True, flip=False, colour=False)
    assert abs(drawn["degrees"]) > 0.3
    rgb = np.full((200, 300, 3), 255, np.uint8)
    image, depth = run(rgb, np.ones((200, 300), np.float32), seed, size=(200, 300))
    assert (depth == 0).any()
    assert image[depth == 0].max() <= 128, "at least half of such a pixel lies outside"
    assert (depth[20:-20, 20:-20] == 1).all()


def test_image_and_depth_turn_alike():
    """A ramp in both stays the same ramp in both."""
    rows, columns = np.mgrid[:120, :200]
    ramp = 20 + columns + rows / 4
    rgb = np.repeat(np.rint(ramp)[..., None], 3, axis=-1).clip(0, 255).astype(np.uint8)
    for seed in range(40):
        drawn = official_draws(seed, margins=(40, 60))
        if drawn["colour"]:
            continue
        image, depth = run(rgb, rgb[..., 0].astype(np.float32), seed, size=(80, 140))
        seen = (depth > 0) & (image[..., 0] > 15)
        assert seen.mean() > 0.9
        assert abs(image[..., 0] - depth)[seen].max() <= 2


def test_turns_clockwise_by_positive_angles():
    rgb = np.zeros((101, 201, 3), np.uint8)
    rgb[50] = 255
    seed, drawn = find_seed(margins=(0, 0), rotate=True, flip=False, colour=False)
    image, _ = run(rgb, np.zeros((101, 201), np.float32), seed, size=(101, 201))
    right_end = image[:, 195, 0].argmax() - 50
    assert right_end == pytest.approx(95 * np.tan(np.deg2rad(drawn["degrees"])), abs=1)


@pytest.mark.parametrize(
    ("border", "height", "width", "rows", "columns"),
    [
        ("kitti", 375, 1242, range(23, 375), range(13, 1229)),
        ("kitti", 352, 1216, range(352), range(1216)),
        ("nyu", 480, 640, range(45, 472), range(43, 608)),
        ("none", 60, 90, range(60), range(90)),
    ],
    ids=["kitti", "kitti-cropped", "nyu", "none"],
)
def test_border(border, height, width, rows, columns):
    rgb, depth = make_sample(height, width)
    inside = rgb[np.ix_(rows, columns)], depth[np.ix_(rows, columns)]
    seed, _ = find_seed(margins=(0, 0), rotate=False, flip=False, colour=False)
    image, truth = run(rgb, depth, seed, border=border, size=inside[1].shape)
    np.testing.assert_array_equal(image, inside[0])
    np.testing.assert_array_equal(truth, inside[1])


@pytest.mark.parametrize(
    ("border", "size", "height", "width", "message"),
    [
        ("none", (40, 91), 60, 90, "of 90x60 pixels keeps 90x60 .* crop of 91x40"),
        ("none", (61, 56), 60, 90, "crop of 56x61"),
        ("kitti", (352, 704), 300, 1242, "of 1242x300 pixels keeps 1216x300 with border 'kitti'"),
        ("nyu", (416, 544), 240, 320, "keeps 277x195 with border 'nyu'.*train with a smaller"),
    ],
    ids=["narrow", "low", "kitti", "nyu"],
)
def test_image_smaller_than_the_crop(border, size, height, width, message):
    rgb, depth = make_sample(height, width)
    with pytest.raises(ValueError, match=message):
        run(rgb, depth, 0, border=border, size=size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"border": "garg"}, "border must be one of .* got 'garg'"),
        ({"size": (0, 5)}, r"size must be .* got \(0, 5\)"),
        ({"size": (5,)}, "size must be"),
        ({"rotate": 1.5}, "rotate must be a probability, got 1.5"),
        ({"flip": -0.1}, "flip must be a probability"),
        ({"color": np.nan}, "color must be a probability, got nan"),
        ({"degrees": 181}, "degrees must be 0 to 180, got 181"),
        ({"gamma": (1.1, 0.9)}, r"gamma must be .* got \(1\.1, 0\.9\)"),
        ({"channels": (0, 1)}, "channels must be"),
        ({"brightness": (1.1, 0.9)}, r"brightness must be .* got \(1\.1, 0\.9\)"),
        ({"brightness": (0, 1)}, "brightness must be"),
        ({"brightness": (0.9, np.nan)}, "brightness must be"),
    ],
    ids=[
        *("border", "size", "rotate", "flip", "color-nan", "degrees", "gamma", "channels"),
        *("one-side", "order", "zero", "nan"),
    ],
)
def test_bad_augmentation(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**{"border": "none", "size": (4, 4), **options})


@pytest.mark.parametrize(
    ("rgb", "depth", "message"),
    [
        (np.zeros((60, 90), np.uint8), np.zeros((60, 90), np.float32), "rgb must be uint8"),
        (np.zeros((60, 90, 3)), np.zeros((60, 90), np.float32), "rgb must be .* got float64"),
        (np.zeros((60, 90, 3), np.uint8), np.zeros((60, 90)), "depth must be .* got float64"),
        (np.zeros((60, 90, 3), np.uint8), np.zeros((60, 89), np.float32), r"got .* \(60, 89\)"),
    ],
    ids=["grey", "float-image", "double-depth", "sizes"],
)
def test_bad_arrays(rgb, depth, message):
    with pytest.raises(ValueError, match=message):
        run(rgb, depth, 0)
