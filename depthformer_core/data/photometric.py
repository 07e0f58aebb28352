"""Random photometric changes: light, lens, sensor, development and file.

Domain randomisation for networks that are trained on rendered images and used on real ones (Tobin
et al., "Domain Randomization for Transferring Deep Neural Networks from Simulation to the Real
World", IROS 2017): no pixel moves, so depth stays true.
"""

import functools
from collections.abc import Callable
from statistics import NormalDist

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.types import FloatArray, Rgb

_UNCHANGED = 0.2
"""Probability that an image stays as it is."""

_LUMA = np.array([0.299, 0.587, 0.114])


def photometric(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Take a picture again, with another camera in another light.

    Most steps are weak, few are strong, and the scene stays recognisable. A fifth of the images
    stays as it is.

    Args:
        rgb: (H, W, 3), RGB, 0 to 255; not changed.
        rng: Source of all randomness.

    Returns:
        Image (H, W, 3), RGB, 0 to 255, that shares no memory with the input.

    Raises:
        DepthFormerError: The array is no image.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise DepthFormerError(f"rgb must be uint8 (H, W, 3), got {rgb.dtype} {rgb.shape}")
    image = np.array(rgb, order="C")
    if rng.random() < _UNCHANGED:
        return image
    for probability, step in _STEPS:
        if rng.random() < probability:
            image = step(image, rng)
    return image


def _shadow(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Darken one side of a line, or a polygon."""
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        along = np.array([np.cos(angle), np.sin(angle)]) * 2 * (height + width)
        aside = along[::-1] * (-1, 1)
        point = rng.uniform(0.2, 0.8, size=2) * (width, height)
        corners = np.stack([point - aside, point + aside, point + aside + along])
        corners = np.concatenate([corners, [point - aside + along]])
    else:
        corners = rng.uniform(-0.2, 1.2, size=(rng.integers(3, 7), 2)) * (width, height)
    lit = np.ones((height, width), np.float32)
    cv2.fillPoly(lit, [np.rint(corners).astype(np.int32)], rng.uniform(0.35, 0.9))
    penumbra = 1 + int(rng.uniform(0, 0.1) ** 1.5 * width)
    return _multiply(image, cv2.blur(lit, (penumbra, penumbra)))


def _illumination(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Change the light smoothly over the picture."""
    stops = _tailed(rng, 0.25, 0.8) * rng.standard_normal((rng.integers(2, 5), rng.integers(2, 8)))
    gain = np.exp2(np.clip(stops, -0.8, 0.8)).astype(np.float32)
    return _multiply(image, cv2.resize(gain, image.shape[1::-1], interpolation=cv2.INTER_CUBIC))


def _low_frequencies(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Weaken or strengthen what is large in the picture, as local tone mapping does."""
    height, width = image.shape[:2]
    pixels = rng.uniform(12, 48)
    small = max(1, round(width / pixels)), max(1, round(height / pixels))
    coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA).mean(axis=-1) + 16
    gain = ((coarse / coarse.mean()) ** _tailed(rng, 0.25, 0.6)).astype(np.float32)
    return _multiply(image, cv2.resize(gain, (width, height), interpolation=cv2.INTER_LINEAR))


def _haze(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Blend to a bright colour: evenly, from above, or around a light."""
    height, width = image.shape[:2]
    colour = rng.uniform(150, 255) * rng.uniform(0.9, 1, size=3)
    thickness = abs(_tailed(rng, 0.16, 0.55))
    kind = rng.integers(3)
    if kind == 0:
        table = np.arange(256)[:, None] * (1 - thickness) + colour * thickness
        return _apply_table(image, table)
    if kind == 1:
        fade = rng.uniform(0.4, 1.2)
        rows = np.clip(1 - np.linspace(0, 1, height) / fade, 0, 1)[:, None]
        weight = np.broadcast_to(rows, (height, width))
    else:
        place = rng.uniform(0, 1) * width, rng.uniform(-0.2, 0.6) * height
        weight = 1 / (1 + _squared_distance(image, *place) * rng.uniform(3, 30))
    weight = np.asarray(weight * thickness, np.float32)
    veil = cv2.merge([np.full((height, width), value, np.uint8) for value in colour])
    return _image(cv2.blendLinear(image, veil, 1 - weight, weight))


def _vignetting(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Darken the corners by the fourth power of the cosine."""
    height, width = image.shape[:2]
    centre = rng.uniform(0.4, 0.6) * width, rng.uniform(0.3, 0.7) * height
    slope = abs(_tailed(rng, 0.4, 1.2))
    return _multiply(image, cv2.pow(1 + _squared_distance(image, *centre) * slope, -2))


def _blur(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Put the picture out of focus, or shake the camera."""
    if rng.random() < 0.7:
        return _image(cv2.GaussianBlur(image, (0, 0), 0.3 + abs(_tailed(rng, 0.4, 1.5))))
    length = min(2 + abs(_tailed(rng, 2, 7)), 8)
    angle = rng.uniform(0, np.pi)
    half = int(np.ceil(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    for place in np.linspace(-length / 2, length / 2, 4 * half + 1):
        row, column = place * np.sin(angle) + half, place * np.cos(angle) + half
        kernel[round(row), round(column)] += 1
    return _image(cv2.filter2D(image, -1, kernel / kernel.sum()))


def _resampling(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Lose detail in a smaller picture."""
    height, width = image.shape[:2]
    scale = rng.uniform(0.5, 1)
    small = max(1, round(width * scale)), max(1, round(height * scale))
    down = cv2.INTER_AREA if rng.random() < 0.7 else cv2.INTER_LINEAR
    up = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
    return _image(
        cv2.resize(cv2.resize(image, small, interpolation=down), (width, height), interpolation=up)
    )


def _noise(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Add the sensor's noise, which depends on the value and is partly alike in all colours."""
    # In fixed point, which takes half the time; a standard deviation of the grain is 64.
    grain = cv2.LUT(rng.integers(0, 256, image.shape, np.uint8), _normal_quantiles(64))
    strength = 0.5 + abs(_tailed(rng, 2.5, 10))
    if rng.random() < 0.4:
        # Demosaicking and denoising make noise coarser.
        sigma = rng.uniform(0.4, 0.9)
        grain = cv2.GaussianBlur(grain, (0, 0), sigma)
        strength *= 1 + 2 * sigma
    alike = rng.uniform(0, 1)
    own = np.sqrt(1 - alike)
    mix = own * np.eye(3, dtype=np.float32) + (np.sqrt(3 - 2 * own**2) - own) / 3
    grain = cv2.transform(grain, mix)
    values = np.linspace(0, 1, 256)
    deviation = 1 + rng.uniform(0, 2) * (1 - values) ** 2 + rng.uniform(0, 1) * values
    scale = cv2.LUT(image, np.rint(16 * strength * deviation).astype(np.int16))
    return _image(cv2.add(image, cv2.multiply(scale, grain, scale=1 / (16 * 64)), dtype=cv2.CV_8U))


def _white_balance(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Change the colour of the light, and tint the picture."""
    warmth, tint = _tailed(rng, 0.12, 0.35), _tailed(rng, 0.05, 0.2)
    gains = np.exp2([warmth, tint, -warmth])
    return _apply_table(image, np.arange(256)[:, None] * (gains / (gains @ _LUMA)))


def _tone_curve(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Change exposure, gamma and contrast, within what an automatic exposure lets through."""
    before = np.clip(float(image.mean()) / 255, 0.02, 0.98)
    gain = min(np.exp2(_tailed(rng, 0.25, 0.8)), max(1, 0.8 / before))
    exposed = np.minimum(np.linspace(0, gain, 256), 1)
    middle = min(before * gain, 0.98)
    wanted = np.clip(middle ** np.exp2(_tailed(rng, 0.35, 1.3)), 0.2, 0.75)
    gamma = np.clip(np.log(wanted) / np.log(middle), 0.4, 2.5)
    curve, middle = exposed**gamma, middle**gamma
    contrast = np.exp2(_tailed(rng, 0.2, 0.5))
    return _apply_table(image, 255 * (middle + (curve - middle) * contrast))


def _highlights(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Burn out what is bright, or keep it grey."""
    values = np.arange(256)
    knee = rng.uniform(150, 235)
    slope = rng.uniform(0.3, 1) if rng.random() < 0.3 else rng.uniform(1, 4)
    return _apply_table(image, np.where(values < knee, values, knee + (values - knee) * slope))


def _colours(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Change saturation and hue, and seldom swap channels."""
    kind = rng.random()
    saturation = rng.uniform(0, 0.2) if kind < 0.15 else np.exp2(_tailed(rng, 0.4, 0.9))
    hue = np.deg2rad(_tailed(rng, 5, 25))
    # A turn about the grey axis.
    axis = np.full(3, 1 / np.sqrt(3))
    matrix, _ = cv2.Rodrigues(axis * hue)
    matrix = (saturation * np.eye(3) + (1 - saturation) * _LUMA) @ matrix
    if kind > 0.95:
        matrix = matrix[:, rng.permutation(3)]
    return _image(cv2.transform(image, matrix))


def _sharpening(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Mask unsharply."""
    amount = 0.2 + abs(_tailed(rng, 0.4, 1.5))
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.6))
    return _image(cv2.addWeighted(image, 1 + amount, blurred, -amount, 0))


def _jpeg(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Compress and decompress."""
    quality = round(95 - 70 * rng.uniform(0, 1) ** 1.5)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return _image(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


# In the order in which light becomes a file.
_STEPS: tuple[tuple[float, Callable[[Rgb, np.random.Generator], Rgb]], ...] = (
    (0.25, _shadow),
    (0.25, _illumination),
    (0.25, _haze),
    (0.2, _vignetting),
    (0.25, _blur),
    (0.4, _noise),
    (0.5, _white_balance),
    (0.25, _low_frequencies),
    (0.7, _tone_curve),
    (0.25, _highlights),
    (0.5, _colours),
    (0.25, _resampling),
    (0.25, _sharpening),
    (0.4, _jpeg),
)


def _tailed(rng: np.random.Generator, scale: float, limit: float) -> float:
    """Draw from a Laplace distribution, cut at the limit to either side."""
    return float(np.clip(rng.laplace(0, scale), -limit, limit))


def _multiply(image: Rgb, gain: npt.ArrayLike) -> Rgb:
    """Multiply all channels with a gain (H, W)."""
    gain = np.asarray(gain, np.float32)
    return _image(cv2.multiply(image, cv2.merge([gain] * 3), dtype=cv2.CV_8U))


def _apply_table(image: Rgb, table: npt.NDArray[np.float64]) -> Rgb:
    """Replace values by those of a table, (256,) for all channels or (256, 3)."""
    levels = np.rint(np.clip(table, 0, 255)).astype(np.uint8)
    return _image(cv2.LUT(image, levels.reshape(1, 256, -1)))


def _squared_distance(image: Rgb, x: float, y: float) -> FloatArray:
    """Return the squared distance of each pixel from a place, in units of half the larger side."""
    height, width = image.shape[:2]
    half = max(height, width) / 2
    columns = ((np.arange(width, dtype=np.float32) - x) / half) ** 2
    rows = ((np.arange(height, dtype=np.float32) - y) / half) ** 2
    return np.asarray(columns + rows[:, None], np.float32)


@functools.cache
def _normal_quantiles(deviation: int) -> npt.NDArray[np.int16]:
    """Return a table (256,) from a random byte to a normally distributed number."""
    normal = NormalDist(0, deviation)
    return np.array([round(normal.inv_cdf((byte + 0.5) / 256)) for byte in range(256)], np.int16)


def _image(array: npt.ArrayLike) -> Rgb:
    return np.asarray(array, np.uint8)
