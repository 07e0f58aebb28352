"""Clouds of one image, predicted and true, that a page lets its reader turn."""

import base64
import functools
import gzip
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.thin_cloud import thin_cloud
from depthformer_core.types import FloatArray, FloatingArray, Rgb
from depthformer_core.visualize import depth_range

_MOST_POINTS = 15_000
_SIZE = 1.2
_TRUTH_COLOUR = "#e63c3c"
# Finer than pictures show; rounded so, coordinates take half the space.
_STEP = 1 / 64  # metres
# Where the view begins, as shares of the distance that is shown: forward, left, up.
_EYE = np.array([-0.25, 0.0, 0.22])
_CENTRE = np.array([0.35, 0.0, 0.0])
_AXES = {"x": "forward", "y": "left", "z": "up"}


@dataclass(frozen=True)
class CloudView:
    """An interactive picture for `render_report`, without any markup.

    Attributes:
        file: Name of the image.
        points: Number of predicted points, by source.
        true_points: Number of true points; 0 where there is no truth.
        figure: Plotly's figure, JSON, packed by gzip and base64.
        library: Plotly's script (MIT licence), packed likewise.
    """

    file: str
    points: dict[str, int]
    true_points: int
    figure: str
    library: str


def cloud_view(comparisons: Mapping[str, Comparison], camera: Camera) -> CloudView:
    """Build a view of the clouds of one image, in metres ahead, to the left and up (REP 103).

    Predictions have the image's colours, and all but the first are hidden until their name is
    clicked. The truth is red. A cloud has at most 15,000 points, chosen by `thin_cloud`. Depth
    beyond the range of the truth's picture (`depth_range`) is left out: it would be mostly sky.

    Args:
        comparisons: The image with the depth of each source, by the source's name.
        camera: Camera of the image.

    Raises:
        DepthFormerError: There is no source, they are not of one image, or the camera is not of
            its size.
    """
    if not comparisons:
        raise DepthFormerError("a view of clouds needs at least one source of depth")
    first = next(iter(comparisons.values()))
    _check(comparisons, first, camera)
    known = np.where(first.truth > 0, first.truth, np.nan)
    _, far = depth_range(known if np.isfinite(known).any() else first.prediction)
    clouds = {
        name: _cloud(comparison.prediction, first.rgb, camera, far=far)
        for name, comparison in comparisons.items()
    }
    traces = [
        _trace(name, points, [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colours.tolist()])
        for name, (points, colours) in clouds.items()
    ]
    for trace in traces[1:]:
        trace.visible = "legendonly"
    true_points, _ = _cloud(known, first.rgb, camera, far=far)
    if len(true_points):
        traces.append(_trace("truth", true_points, _TRUTH_COLOUR))
    figure = go.Figure(traces, _layout(traces, far))
    buttons = ["tableRotation", "pan3d", "resetCameraDefault3d"]
    settings = {"responsive": True, "displaylogo": False, "modeBarButtons": [buttons]}
    text = json.dumps({**json.loads(figure.to_json()), "config": settings})
    counts = {name: len(points) for name, (points, _) in clouds.items()}
    return CloudView(first.file, counts, len(true_points), _pack(text), _library())


def _check(comparisons: Mapping[str, Comparison], first: Comparison, camera: Camera) -> None:
    for name, comparison in comparisons.items():
        if comparison.file != first.file or comparison.rgb.shape != first.rgb.shape:
            raise DepthFormerError(
                f"sources must be of one image, {name} is of {comparison.file}, not {first.file}"
            )
    if first.rgb.shape[:2] != (camera.height, camera.width):
        raise DepthFormerError(
            f"{first.file} has size {first.rgb.shape[1]}x{first.rgb.shape[0]}, "
            f"the camera {camera.width}x{camera.height}"
        )


def _cloud(depth: FloatingArray, rgb: Rgb, camera: Camera, *, far: float) -> tuple[FloatArray, Rgb]:
    """Compute points (N, 3) forward, left and up, and their colours (N, 3)."""
    shown = np.where(depth <= far, depth, np.nan)
    points, colours = thin_cloud(shown, rgb, camera, most=_MOST_POINTS)
    turned = np.stack((points[:, 2], -points[:, 0], -points[:, 1]), axis=-1)
    return (np.rint(turned / _STEP) * _STEP).astype(np.float32), colours


def _trace(name: str, points: FloatArray, colour: list[str] | str) -> go.Scatter3d:
    return go.Scatter3d(
        **{axis: points[:, index] for index, axis in enumerate(_AXES)},
        mode="markers",
        # Plotly shows a few tags and entities in names.
        name=html.escape(name, quote=False),
        marker={"color": colour, "size": _SIZE, "line": {"width": 0}},
        hovertemplate="".join(f"{word} %{{{axis}:.1f}} m<br>" for axis, word in _AXES.items())
        + "<extra></extra>",
    )


def _layout(traces: list[go.Scatter3d], far: float) -> go.Layout:
    """Show the same length on every axis, from behind and above the camera."""
    ends = {}
    for axis in _AXES:
        values = np.concatenate([[0.0], *(trace[axis] for trace in traces)])
        ends[axis] = (float(values.min()), float(values.max()) + _STEP)
    low, high = np.array(list(ends.values())).T
    # The scene's own units: its middle is 0, and `far` metres are 2.
    scale = 2 / far
    middle = (low + high) / 2

    def place(share: FloatingArray) -> dict[str, float]:
        return dict(zip(_AXES, ((share * far - middle) * scale).tolist(), strict=True))

    axes = {
        f"{axis}axis": {
            "title": {"text": f"{word} (m)"},
            "range": list(ends[axis]),
            "showbackground": False,
            "gridcolor": "#d5dae0",
            "zerolinecolor": "#9aa5b1",
            "showspikes": False,
        }
        for axis, word in _AXES.items()
    }
    return go.Layout(
        template="none",
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        legend={"orientation": "h", "x": 0, "y": 0, "yanchor": "bottom", "itemsizing": "constant"},
        scene={
            **axes,
            "aspectmode": "manual",
            "aspectratio": dict(zip(_AXES, ((high - low) * scale).tolist(), strict=True)),
            "camera": {
                "eye": place(_EYE),
                "center": place(_CENTRE),
                "up": {"x": 0, "y": 0, "z": 1},
            },
        },
    )


@functools.cache
def _library() -> str:
    return _pack(get_plotlyjs())


def _pack(text: str) -> str:
    # Without a time, the same view is the same text.
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
