"""HTML pages with everything inside them."""

import base64
import importlib.resources

import cv2
import jinja2

from depthformer_core.evaluation.results import interval, number, percent, percent_interval
from depthformer_core.paths import printable
from depthformer_core.types import Rgb

_QUALITY = 88  # of JPEG


def render_page(template: str, /, **values: object) -> str:
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


def _uri(data: bytes, *, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
