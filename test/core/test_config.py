"""DepthFormerConfig rejects what no network can be built from."""

import dataclasses
import json
import re

import pytest

from depthformer_core.config import DepthFormerConfig
from depthformer_core.presets import PRESETS

VALID = PRESETS["debug"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("depths", (2, 2, 2)),
        ("depths", (2, 0, 2, 2)),
        ("num_heads", (3, 1, 1, 1)),
        ("embed_dim", 0),
        ("window_size", 0),
        ("stem_dim", -1),
        ("hahi_dim", 6),
        ("hahi_heads", 3),
        ("hahi_points", 0),
        ("drop_path", 1.0),
        ("min_depth", 0.0),
        ("max_depth", 1e-4),
        ("max_depth", float("nan")),
        ("head", "softmax"),
        ("crop", "nyu"),
        ("norm", "layer"),
        ("focal_length", 500.0),
    ],
)
def test_bad_value_is_named(field: str, value: object) -> None:
    shown = "3 heads" if field == "num_heads" else re.escape(str(value))
    with pytest.raises(ValueError, match=shown):
        dataclasses.replace(VALID, **{field: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"focal_length": 0.0, "image_width": 640}, "focal_length must be positive, got 0.0"),
        ({"focal_length": float("inf"), "image_width": 640}, "got inf"),
        ({"focal_length": 500.0, "image_width": 0}, "image_width must be positive, got 0"),
        ({"crop": "view"}, "needs focal_length, image_width and image_height, got None"),
        (
            {"focal_length": 500.0, "image_width": 640, "image_height": 0},
            "image_height must be positive, got 0",
        ),
        ({"image_width": 640}, "belong together, got None and 640"),
    ],
    ids=["zero", "infinite", "width", "no view", "height", "alone"],
)
def test_bad_camera_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(VALID, **values)


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS.keys())
def test_json_round_trip(config: DepthFormerConfig) -> None:
    assert DepthFormerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**VALID.to_dict(), "extra": 1}, "unknown configuration fields: extra"),
        ({"embed_dim": 8}, "missing configuration fields: depths, hahi_dim, max_depth, num_heads"),
        ({**VALID.to_dict(), "embed_dim": "8"}, "embed_dim has a wrong value: '8'"),
        ({**VALID.to_dict(), "embed_dim": True}, "embed_dim has a wrong value: True"),
        ({**VALID.to_dict(), "depths": 4}, "depths has a wrong value: 4"),
        ({**VALID.to_dict(), "depths": [1, 1, 1, 1.5]}, "depths has a wrong value"),
        ({**VALID.to_dict(), "max_depth": None}, "max_depth has a wrong value: None"),
        ([1, 2], "an object of fields"),
    ],
    ids=["unknown", "missing", "text", "boolean", "scalar", "fraction", "null", "list"],
)
def test_bad_json_is_named(values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DepthFormerConfig.from_dict(values)
