"""Pictures of depth: colours with a legend in metres, clouds seen from behind, labelled sheets."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from depthformer_core.errors import DepthFormerError
from depthformer_core.types import FloatingArray, Rgb

_BACKGROUND = (20, 22, 28)
_TEXT = (235, 235, 235)
_WARNING = (176, 32, 32)
# The darkest colours of the map are left out, so that "far" is not taken for "no depth".
_DARKEST = 36
_VIEWPOINT = (-1.5, -6.0, -6.0)
_SPLAT = 1  # pixels around a point that take its colour


def colorize(depth: FloatingArray, *, near: float, far: float) -> Rgb:
    """Colour a depth image: near bright and warm, far dark, on a logarithmic scale.

    Args:
        depth: (H, W), metres.
        near: Depth of the brightest colour and below, metres.
        far: Depth of the darkest colour and beyond, metres.

    Returns:
        (H, W, 3) RGB; black where the depth is not finite or not positive.

    Raises:
        DepthFormerError: The depth is no floating-point image, or not 0 < near < far < infinity.
    """
    if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.floating):
        raise DepthFormerError(
            f"depth must be a floating-point image (H, W), got {depth.dtype} {depth.shape}"
        )
    if not 0 < near < far < math.inf:
        raise DepthFormerError(f"the range must satisfy 0 < near < far, got {near} and {far}")
    valid = np.isfinite(depth) & (depth > 0)
    clipped = np.clip(np.where(valid, depth, far), near, far).astype(np.float32)
    brightness = np.log(far / clipped) / math.log(far / near)
    indices = np.rint(_DARKEST + (255 - _DARKEST) * brightness).astype(np.uint8)
    picture: Rgb = _colour_map()[indices]
    picture[~valid] = 0
    return picture


def depth_range(depth: FloatingArray) -> tuple[float, float]:
    """Compute near and far end for `colorize` that show most of a depth image, metres.

    Args:
        depth: (H, W), metres; what is not finite or not positive is left out.

    Returns:
        The 2nd and 98th percentile, held at least a factor of two apart; 1 and 80 m where the
        image holds no depth.
    """
    values = depth[np.isfinite(depth) & (depth > 0)]
    if not values.size:
        return 1.0, 80.0
    near, far = (float(end) for end in np.percentile(values, (2, 98)))
    middle = math.sqrt(near * far)
    return min(near, middle / math.sqrt(2)), max(far, middle * math.sqrt(2))


def depth_ticks(near: float, far: float, *, steps: Sequence[int] = (1, 2, 3, 5, 8)) -> list[float]:
    """Return the depths between `near` and `far`, metres, to mark on a logarithmic scale.

    Args:
        near: Lower end of the scale, metres.
        far: Upper end.
        steps: The marks of each decade.
    """
    decades = range(math.floor(math.log10(near)), math.ceil(math.log10(far)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return [tick for tick in ticks if near * 0.999 <= tick <= far * 1.001]


def legend(*, near: float, far: float, width: int) -> Rgb:
    """Draw the colour bar of `colorize` with its scale in metres, (44, width, 3) RGB."""
    height, bar, margin = 44, 14, 24
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    columns = np.arange(width - 2 * margin)
    depths = near * (far / near) ** (columns / max(len(columns) - 1, 1))
    strip = colorize(np.repeat(depths[None], bar, axis=0), near=near, far=far)
    sheet.paste(Image.fromarray(strip), (margin, 4))
    draw = ImageDraw.Draw(sheet)
    free_from = 0.0
    for depth in depth_ticks(near, far):
        x = margin + math.log(depth / near) / math.log(far / near) * (len(columns) - 1)
        text = f"{depth:g} m"
        half = draw.textlength(text, font=_font(15)) / 2
        if x - half < free_from or x + half > width:
            continue
        free_from = x + half + 12
        draw.line((x, 4, x, 4 + bar + 3), fill=_TEXT)
        draw.text((x - half, 4 + bar + 4), text, fill=_TEXT, font=_font(15))
    return np.asarray(sheet)


def cloud_picture(
    points: FloatingArray,
    rgb: Rgb,
    *,
    width: int = 1242,
    height: int = 560,
) -> Rgb:
    """Render a point cloud as seen from above and behind the sensor.

    The place suits the size of the scene: for a street with a median depth of 12 m, the virtual
    camera is 6 m behind, 6 m above and 1.5 m to the left of the sensor; it is turned 14 degrees
    down and 4 degrees to the right.

    Args:
        points: (H, W, 3) in the optical frame (x right, y down, z forward), metres; not finite
            where there is no depth.
        rgb: (H, W, 3) colours of the points.
        width: Columns of the picture.
        height: Rows of the picture.

    Returns:
        (height, width, 3) RGB.

    Raises:
        DepthFormerError: Points and colours do not belong together.
    """
    if points.ndim != 3 or points.shape != rgb.shape or points.shape[2] != 3:
        raise DepthFormerError(
            f"points and colours must both be (H, W, 3), got {points.shape} and {rgb.shape}"
        )
    picture = np.empty((height + 2 * _SPLAT, width + 2 * _SPLAT, 3), np.uint8)
    picture[:] = _BACKGROUND
    valid = np.isfinite(points).all(axis=-1)
    if not valid.any():
        return picture[_SPLAT:-_SPLAT, _SPLAT:-_SPLAT]
    scale = float(np.median(points[valid][:, 2])) / 12.0
    seen = (points[valid] - scale * np.array(_VIEWPOINT)) @ _view_rotation().T
    colours = rgb[valid]
    focal = 0.75 * width
    in_front = seen[:, 2] > scale
    seen, colours = seen[in_front], colours[in_front]
    order = np.argsort(-seen[:, 2], kind="stable")
    seen, colours = seen[order], colours[order]
    column = np.rint(focal * seen[:, 0] / seen[:, 2] + width / 2).astype(np.int64)
    row = np.rint(focal * seen[:, 1] / seen[:, 2] + 0.42 * height).astype(np.int64)

    # Painted from far to near, so near points hide far ones; the last write to a pixel stays.
    # The border of the picture saves a bounds check for each pixel of a splat.
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row, colours = column[inside], row[inside], colours[inside]
    stride = width + 2 * _SPLAT
    centres = (row + _SPLAT) * stride + column + _SPLAT
    reach = range(-_SPLAT, _SPLAT + 1)
    offsets = np.array([down * stride + across for down in reach for across in reach])
    flat = picture.reshape(-1, 3)
    flat[(centres[:, None] + offsets).ravel()] = np.repeat(colours, len(offsets), axis=0)
    return picture[_SPLAT:-_SPLAT, _SPLAT:-_SPLAT].copy()


def sheet(
    panels: Sequence[tuple[str, Rgb]],
    *,
    title: str,
    warning: str | None = None,
) -> Rgb:
    """Put labelled pictures below each other under a title.

    Args:
        panels: Label and (H, W, 3) RGB of each picture; narrower ones are centred.
        title: Text of the title strip.
        warning: Text of a red banner under the title, or none.

    Returns:
        (H, W, 3) RGB, as wide as the widest picture.

    Raises:
        DepthFormerError: There is no picture.
    """
    if not panels:
        raise DepthFormerError("a sheet needs at least one picture")
    width = max(picture.shape[1] for _, picture in panels)
    rows = [_strip(title, width=width, height=44, size=24, colour=_BACKGROUND)]
    if warning is not None:
        rows.append(_strip(warning, width=width, height=40, size=22, colour=_WARNING))
    for label, picture in panels:
        if label:
            rows.append(_strip(label, width=width, height=28, size=16, colour=_BACKGROUND))
        missing = width - picture.shape[1]
        left = missing // 2
        canvas = np.empty((picture.shape[0], width, 3), np.uint8)
        canvas[:] = _BACKGROUND
        canvas[:, left : width - (missing - left)] = picture
        rows.append(canvas)
    return np.concatenate(rows)


@functools.cache
def _colour_map() -> Rgb:
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    bgr = cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)
    return np.ascontiguousarray(bgr[:, 0, ::-1])


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Only pictures with text need matplotlib, and only its font.
    import matplotlib as mpl

    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)


def _strip(text: str, *, width: int, height: int, size: int, colour: tuple[int, int, int]) -> Rgb:
    strip = Image.new("RGB", (width, height), colour)
    draw = ImageDraw.Draw(strip)
    # A long text shrinks to the width of a narrow picture.
    while size > 8 and draw.textlength(text, font=_font(size)) > width - 24:
        size -= 1
    draw.text((12, height / 2), text, fill=_TEXT, font=_font(size), anchor="lm")
    return np.asarray(strip)


def _view_rotation() -> npt.NDArray[np.float64]:
    pitch, yaw = math.radians(14.0), math.radians(4.0)
    down = np.array(
        [
            [1, 0, 0],
            [0, math.cos(pitch), -math.sin(pitch)],
            [0, math.sin(pitch), math.cos(pitch)],
        ]
    )
    right = np.array(
        [
            [math.cos(yaw), 0, -math.sin(yaw)],
            [0, 1, 0],
            [math.sin(yaw), 0, math.cos(yaw)],
        ]
    )
    return np.asarray(down @ right)
