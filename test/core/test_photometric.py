import functools

import cv2
import numpy as np
import pytest

from depthformer_core.data import photometric as module
from depthformer_core.data.augment import Augmentation, augment
from depthformer_core.data.photometric import photometric

STEPS = [pytest.param(step, id=step.__name__.strip("_")) for _, step in module._STEPS]


@functools.cache
def street(height=60, width=180):
    """A bright sky over a darker ground with blocks, and some texture."""
    rng = np.random.default_rng(1)
    image = np.full((height, width, 3), (90, 95, 100), np.float64)
    image[: height // 3] = 170, 190, 220
    for column in range(0, width, 30):
        image[height // 4 : height // 2, column : column + 18] = rng.uniform(20, 200, 3)
    image += rng.normal(0, 6, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def local_contrast(rgb):
    grey = rgb.mean(axis=-1)
    return cv2.blur(grey, (3, 3)) - cv2.blur(grey, (41, 41))


def draw(rgb, seed):
    return photometric(rgb, np.random.default_rng(seed))


def test_same_seed_same_picture():
    rgb = street()
    before = rgb.copy()
    for seed in range(20):
        first, second = draw(rgb, seed), draw(rgb, seed)
        assert (first.dtype, first.shape) == (np.uint8, rgb.shape)
        np.testing.assert_array_equal(first, second)
        assert first.flags["C_CONTIGUOUS"]
        assert not np.shares_memory(first, rgb)
    np.testing.assert_array_equal(rgb, before)


def test_a_fifth_stays_and_the_rest_differs():
    pictures = [draw(street(), seed) for seed in range(400)]
    changed = [picture for picture in pictures if (picture != street()).any()]
    assert 0.14 < 1 - len(changed) / len(pictures) < 0.27
    assert len({picture.tobytes() for picture in changed}) == len(changed)


@pytest.mark.slow
def test_the_scene_stays_recognisable():
    """Brightness, contrast and what is where stay sensible over many draws."""
    rgb = street(188, 620)
    pictures = [draw(rgb, seed) for seed in range(300)]
    means = np.array([picture.mean() for picture in pictures])
    assert abs(np.median(means) - rgb.mean()) < 15
    assert ((means > 30) & (means < 230)).mean() > 0.99
    assert means.std() > 10, "the draws vary"
    alike = [
        np.corrcoef(local_contrast(rgb).ravel(), local_contrast(picture).ravel())[0, 1]
        for picture in pictures
    ]
    assert np.median(alike) > 0.95
    assert np.quantile(alike, 0.01) > 0.6


@pytest.mark.parametrize("step", STEPS)
def test_each_step_changes_the_picture(step):
    rgb = street()
    before = rgb.copy()
    pictures = [step(rgb, np.random.default_rng(seed)) for seed in range(10)]
    for picture in pictures:
        assert (picture.dtype, picture.shape) == (np.uint8, rgb.shape)
    assert sum((picture != rgb).any() for picture in pictures) >= 8
    np.testing.assert_array_equal(rgb, before)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (7, 5), (1, 40), (33, 2), (176, 608)],
    ids=["pixel", "few", "row", "narrow", "crop"],
)
def test_sizes(step, height, width):
    rgb = street(176, 608)[:height, :width]
    for value in (rgb, np.zeros_like(rgb), np.full_like(rgb, 255)):
        for seed in range(4):
            picture = step(value, np.random.default_rng(seed))
            assert (picture.dtype, picture.shape) == (np.uint8, rgb.shape)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5), (176, 608)])
def test_windows_of_larger_images(height, width):
    window = street(200, 620)[3 : 3 + height, 5 : 5 + width]
    for seed in range(20):
        np.testing.assert_array_equal(draw(window, seed), draw(window.copy(), seed))


def test_noise_has_no_mean_and_a_correlation():
    """Flat grey keeps its value, and channels share part of their noise."""
    grey = np.full((200, 300, 3), 128, np.uint8)
    correlations = []
    for seed in range(12):
        grain = module._noise(grey, np.random.default_rng(seed)).astype(np.float64) - 128
        assert abs(grain.mean()) < 0.1 + 0.05 * grain.std()
        assert 0.2 < grain.std() < 40
        correlations.append(np.corrcoef(grain[..., 0].ravel(), grain[..., 1].ravel())[0, 1])
    assert min(correlations) < 0.3
    assert max(correlations) > 0.6


def test_jpeg_keeps_the_order_of_the_channels():
    rgb = np.full((32, 32, 3), (200, 120, 40), np.uint8)
    for seed in range(5):
        picture = module._jpeg(rgb, np.random.default_rng(seed))
        assert abs(picture.astype(int) - rgb).max() < 20


@pytest.mark.parametrize(
    ("rgb", "message"),
    [
        (np.zeros((6, 9), np.uint8), r"rgb must be uint8 \(H, W, 3\), got uint8 \(6, 9\)"),
        (np.zeros((6, 9, 4), np.uint8), r"got uint8 \(6, 9, 4\)"),
        (np.zeros((6, 9, 3)), "got float64"),
        (np.zeros((0, 9, 3), np.uint8), r"got uint8 \(0, 9, 3\)"),
    ],
    ids=["grey", "alpha", "float", "empty"],
)
def test_bad_image(rgb, message):
    with pytest.raises(ValueError, match=message):
        draw(rgb, 0)


def augmented(seed, **options):
    rgb = street()
    depth = np.arange(rgb.shape[0] * rgb.shape[1], dtype=np.float32).reshape(rgb.shape[:2])
    rng = np.random.default_rng(seed)
    augmentation = Augmentation(border="none", size=(40, 90), **options)
    image, truth = augment(rgb, depth, augmentation=augmentation, rng=rng)
    return image, truth, rng.bit_generator.state


def test_augment_draws_nothing_without_it(monkeypatch):
    for seed in range(20):
        image, truth, state = augmented(seed)
        same, same_truth, same_state = augmented(seed, photometric=0.0)
        np.testing.assert_array_equal(image, same)
        np.testing.assert_array_equal(truth, same_truth)
        assert state == same_state
    monkeypatch.setattr("depthformer_core.data.augment.photometric", None)
    assert augmented(3, photometric=0.0)[2] == augmented(3)[2]


def test_augment_changes_the_picture_alone():
    changed = 0
    for seed in range(20):
        image, truth, _ = augmented(seed, color=0.0)
        other, other_truth, _ = augmented(seed, color=0.0, photometric=1.0)
        assert (other.dtype, other.shape) == (image.dtype, image.shape)
        np.testing.assert_array_equal(truth, other_truth)
        changed += (image != other).any()
    assert 10 <= changed < 20


def test_off_leaves_it_out():
    for seed in range(10):
        plain, requested = augmented(seed, off=True), augmented(seed, off=True, photometric=1.0)
        np.testing.assert_array_equal(plain[0], requested[0])
        assert plain[2] == requested[2]


@pytest.mark.parametrize("probability", [-0.1, 1.5, np.nan], ids=["low", "high", "nan"])
def test_bad_probability(probability):
    with pytest.raises(ValueError, match=f"photometric must be a probability, got {probability}"):
        Augmentation(border="none", size=(4, 4), photometric=probability)
