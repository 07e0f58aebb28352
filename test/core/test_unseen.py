"""Black borders: found where the camera saw nothing, and nowhere else."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from depthformer_core.inference.unseen import black_pixels, unseen_pixels
from depthformer_core.synthetic import SyntheticDataset


def photographs(samples: Path) -> list[Path]:
    """Pictures that cameras took."""
    frames = samples.parent / "real_frames" / "rgb"
    pictures = [path for folder in (samples, frames) for path in folder.rglob("*.[jp][pn]g")]
    return sorted(path for path in pictures if "depth" not in str(path.relative_to(samples.parent)))


def picture(height: int = 375, width: int = 1242, *, seed: int = 0) -> np.ndarray:
    """Patches of colours, none of them black."""
    patches = np.random.default_rng(seed).integers(20, 256, (6, 12, 3), np.uint8)
    return cv2.resize(patches, (width, height), interpolation=cv2.INTER_LINEAR)


def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each pixel as a share of the image, -1 to 1."""
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    return 2 * rows / max(1, height - 1) - 1, 2 * columns / max(1, width - 1) - 1


BORDERS = {
    "a strip": lambda y, x: x + 0 * y < -0.9,
    "letterbox": lambda y, x: abs(y + 0 * x) > 0.8,
    "a wedge": lambda y, x: y < -0.8 + 0.2 * x,
    "a frame turned": lambda y, x: (abs(y + 0.05 * x) > 0.85) | (abs(x - 0.05 * y) > 0.9),
    "bows": lambda y, x: abs(y) > 0.8 + 0.2 * x**2,
    "a bow that ends in the side": lambda y, x: y > 0.9 + 0.3 * x**2,
    "pillows": lambda y, x: abs(y) > 1.1 - 0.2 * x**2,
    "corners": lambda y, x: abs(x) + abs(y) > 1.8,
    "a circle": lambda y, x: x**2 + y**2 > 0.9,
    "a robot's own mask": lambda y, x: (y > 0.6) & (abs(x) < 0.2),
}


@pytest.mark.parametrize("size", [(375, 1242), (480, 640), (96, 160), (48, 64)])
@pytest.mark.parametrize("kind", BORDERS)
def test_borders(kind: str, size: tuple[int, int]) -> None:
    unseen = BORDERS[kind](*grid(*size))
    assert unseen.any()
    image = picture(*size)
    image[unseen] = 0
    found = unseen_pixels(image)
    assert found is not None
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, unseen)
    # Also of one channel, and of a part of a larger image.
    np.testing.assert_array_equal(unseen_pixels(image[..., 0]), unseen)
    wide = np.repeat(image, 2, axis=1)
    np.testing.assert_array_equal(unseen_pixels(wide[:, ::2]), unseen)
    np.testing.assert_array_equal(unseen_pixels(image[:, ::-1]), unseen[:, ::-1])


def test_what_is_black_in_the_middle_is_seen() -> None:
    image = picture()
    image[100:200, 300:500] = 0
    assert unseen_pixels(image) is None
    image[:, :40] = 0
    found = unseen_pixels(image)
    assert found is not None
    np.testing.assert_array_equal(found.nonzero()[1], np.tile(np.arange(40), 375))


@pytest.mark.parametrize("size", [(375, 1242), (1, 1), (7, 3), (200, 9)])
def test_a_black_image_shows_nothing(size: tuple[int, int]) -> None:
    found = unseen_pixels(np.zeros((*size, 3), np.uint8))
    if size[0] * size[1] < 16:
        assert found is None
    else:
        assert found is not None
        assert found.all()


def test_a_nearly_black_image_is_seen() -> None:
    assert unseen_pixels(np.ones((375, 1242, 3), np.uint8)) is None
    # One channel is enough.
    image = np.zeros((375, 1242, 3), np.uint8)
    image[..., 2] = 1
    assert unseen_pixels(image) is None


def test_noise_in_the_dark_is_seen() -> None:
    rng = np.random.default_rng(0)
    for share in (0.02, 0.3, 0.6, 0.9, 0.99):
        image = rng.integers(1, 6, (375, 1242, 3), np.uint8)
        image[rng.random((375, 1242)) < share] = 0
        found = unseen_pixels(image)
        assert found is None or found.mean() < 1e-3


@pytest.mark.parametrize("noise", [0.5, 1.0, 3.0])
def test_a_shadow_at_the_border_is_seen(noise: float) -> None:
    """For example under a car, where a sensor reads less than its black level."""
    y, x = grid(375, 1242)
    light = 60 * (((x - 0.2) / 0.3) ** 2 + ((y - 1) / 0.5) ** 2) - 20
    rng = np.random.default_rng(0)
    light = np.minimum(light, 200)[..., None] + rng.normal(0, noise, (375, 1242, 3))
    image = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    assert black_pixels(image).any()
    assert unseen_pixels(image) is None


def test_lamps_in_a_black_night_are_seen() -> None:
    image = np.zeros((375, 1242, 3), np.uint8)
    for column in range(100, 1200, 150):
        cv2.circle(image, (column, 150), 20, (255, 230, 180), -1)
    assert unseen_pixels(image) is None


def test_a_few_black_pixels_at_the_border_are_seen() -> None:
    image = picture()
    image[0, 100:115] = 0
    image[-3:, 500:504] = 0
    assert unseen_pixels(image) is None


def test_generated_streets_are_seen_whole() -> None:
    frames = SyntheticDataset(part="test")
    for index in range(5):
        assert unseen_pixels(frames[index].rgb) is None


def test_photographs_are_seen_whole(samples: Path) -> None:
    paths = photographs(samples)
    assert len(paths) >= 29
    for path in paths:
        image = cv2.imread(str(path))
        assert image is not None
        assert unseen_pixels(image) is None, path.name


@pytest.mark.parametrize("taken", [30, 60])
def test_photographs_taken_too_dark_lose_next_to_nothing(samples: Path, taken: int) -> None:
    shares = []
    for path in photographs(samples)[::3]:
        image = cv2.imread(str(path))
        assert image is not None
        found = unseen_pixels(np.asarray(cv2.subtract(image, np.full(4, taken, np.float64))))
        shares.append(0.0 if found is None else found.mean())
    assert np.mean(shares) < 2e-3


def test_an_image_without_borders_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: object, **__: object) -> np.ndarray:
        raise AssertionError("the image is searched")

    monkeypatch.setattr("depthformer_core.inference.unseen.black_pixels", search)
    image = picture()
    # Black inside is no border.
    image[100:200, 300:500] = 0
    assert unseen_pixels(image) is None
    image[:, :30] = 0
    with pytest.raises(AssertionError, match="is searched"):
        unseen_pixels(image)


def test_black_pixels_are_below_a_value_in_all_channels() -> None:
    image = np.array([[[0, 0, 0], [0, 1, 0], [23, 23, 23], [24, 0, 0]]], np.uint8)
    np.testing.assert_array_equal(black_pixels(image), [[255, 0, 0, 0]])
    np.testing.assert_array_equal(black_pixels(image, below=24), [[255, 255, 255, 0]])
