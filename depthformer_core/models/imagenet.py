"""ImageNet weights of timm for the Swin branch."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from timm.models import load_state_dict, load_state_dict_from_hf
from timm.models.swin_transformer import checkpoint_filter_fn
from torch import Tensor

from depthformer_core.config import DepthFormerConfig
from depthformer_core.errors import DepthFormerError, first_line
from depthformer_core.models.depthformer import DepthFormer

# What the release starts from, by embed_dim, depths, num_heads and window_size.
_WEIGHTS: dict[tuple[int, tuple[int, ...], tuple[int, ...], int], str] = {
    (96, (2, 2, 6, 2), (3, 6, 12, 24), 7): "swin_tiny_patch4_window7_224.ms_in1k",
    (192, (2, 2, 18, 2), (6, 12, 24, 48), 7): "swin_large_patch4_window7_224.ms_in22k",
}
_FILE = "model.safetensors"
# A classifier's end, which no depth network has.
_DROPPED = ("norm.", "head.")
# The branch's own: a classifier has no norm behind each stage.
_NEW = "norms."
_TABLE = ".relative_position_bias_table"


def load_imagenet(model: DepthFormer, *, file: str | os.PathLike[str] | None = None) -> str:
    """Start a network's Swin branch from ImageNet weights, as the release does.

    The norms behind the stages, the convolution branch, the neck and the decoder keep their random
    start.

    Args:
        model: The network, changed in place.
        file: A safetensors or PyTorch file of the weights, in the layout of timm or of Swin's own
            release; None fetches timm's from its hub, or from the cache of an earlier fetch. No
            pickled code in it is run.

    Returns:
        timm's name of the weights.

    Raises:
        DepthFormerError: The architecture has no ImageNet weights, the fetch failed, or the file is
            missing, damaged, or does not hold exactly the tensors of the Swin branch.
    """
    name = _weights_name(model.config)
    if file is None:
        source = f"timm/{name}"
        state = _fetch(name)
    else:
        source = str(file)
        state = _read(Path(file))
    # timm's renaming would also stretch the tables of another window to fit.
    tables = {key: tensor for key, tensor in state.items() if key.endswith(_TABLE)}
    others = {key: tensor for key, tensor in state.items() if key not in tables}
    renamed: dict[str, Tensor] = {**checkpoint_filter_fn(others, model.swin), **tables}
    weights = {key: renamed[key] for key in renamed if not key.startswith(_DROPPED)}
    expected = {
        key: tensor for key, tensor in model.swin.state_dict().items() if not key.startswith(_NEW)
    }
    _check(weights, expected, source)
    model.swin.load_state_dict(weights, strict=False)
    return name


def _weights_name(config: DepthFormerConfig) -> str:
    key = (config.embed_dim, config.depths, config.num_heads, config.window_size)
    if key not in _WEIGHTS:
        names = " and ".join(_WEIGHTS.values())
        raise DepthFormerError(
            f"no ImageNet weights for embed_dim {config.embed_dim}, depths {config.depths}, "
            f"num_heads {config.num_heads}, window_size {config.window_size}: there are {names}; "
            "start this network from random weights or from a checkpoint"
        )
    return _WEIGHTS[key]


def _fetch(name: str) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = load_state_dict_from_hf(f"timm/{name}", filename=_FILE)
    except (OSError, SafetensorError) as error:
        raise DepthFormerError(
            f"cannot fetch the ImageNet weights {name}: {first_line(error)} Download {_FILE} from "
            f"https://huggingface.co/timm/{name} by hand, and name that file"
        ) from error
    return state


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise DepthFormerError(f"no ImageNet weights at {path}")
    try:
        state = load_state_dict(str(path), weights_only=True)
    except pickle.UnpicklingError as error:
        raise DepthFormerError(
            f"{path} holds more than weights and is refused, since loading it would run its "
            f"pickled code: {first_line(error)}"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        raise DepthFormerError(
            f"cannot read ImageNet weights {path}: {first_line(error)}"
        ) from error
    for key, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise DepthFormerError(f"{path} holds no weights: its entry {key!r} is no tensor")
    return dict(state)


def _check(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Compare the weights of `source` with the branch's, naming the first that differs."""
    for name, tensor in weights.items():
        if name not in expected:
            raise DepthFormerError(
                f"{source}: unknown tensor {name}: this Swin has none of that name"
            )
        if tensor.shape != expected[name].shape:
            raise DepthFormerError(
                f"{source}: tensor {name} has shape {tuple(tensor.shape)}, "
                f"this Swin's is {tuple(expected[name].shape)}"
            )
    if missing := [name for name in expected if name not in weights]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DepthFormerError(f"{source}: missing tensor {missing[0]}{more}")
