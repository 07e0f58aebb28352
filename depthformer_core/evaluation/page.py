"""HTML pages with everything inside them."""

import base64
import importlib.resources
import math
from typing import Any

import cv2
import jinja2

from depthformer_core.evaluation.bootstrap import Interval
from depthformer_core.paths import printable
from depthformer_core.types import Rgb

_QUALITY = 88  # of JPEG


def render_page(template: str, /, **values: Any) -> str:
    """Fill a template of this package.

    Args:
        template: Name of the template.
        **values: Values of the template's variables; texts are escaped.

    Returns:
        HTML, which UTF-8 takes whatever the names of files are.
    """
    folder = importlib.resources.files("depthformer_core.evaluation")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "interval": interval,
        "percent_interval": percent_interval,
    }
    return printable(environment.get_template(template).render(values))


def png_uri(data: bytes) -> str:
    """Encode a PNG file as a data URI."""
    return _uri(data, kind="png")


def picture_uri(rgb: Rgb) -> str:
    """Encode a picture, (H, W, 3), as a data URI."""
    encoded, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert encoded, "JPEG takes every picture"
    return _uri(data.tobytes(), kind="jpeg")


def number(value: float) -> str:
    """Format a number with four decimals, an integer as it is, NaN as a dash."""
    if isinstance(value, int):
        return str(value)
    return "-" if math.isnan(value) else f"{value:.4f}"


def percent(value: float) -> str:
    """Format a share as percent with one decimal, NaN as a dash."""
    return "-" if math.isnan(value) else f"{value:.1%}"


def interval(ends: Interval) -> str:
    """Format an interval as `number` does, NaN as a dash."""
    return "-" if math.isnan(ends[0]) else f"{ends[0]:.4f} to {ends[1]:.4f}"


def percent_interval(ends: Interval) -> str:
    """Format an interval in percent, NaN as a dash."""
    return "-" if math.isnan(ends[0]) else f"{100 * ends[0]:.1f} to {ends[1]:.1%}"


def _uri(data: bytes, *, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
