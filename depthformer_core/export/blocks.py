"""The values of a network that are compared one by one, named by the modules that return them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn

from depthformer_core.export.attention import GatherAttention
from depthformer_core.export.form import WindowBlock
from depthformer_core.models import DepthFormer
from depthformer_core.models.conv_stem import ConvStem
from depthformer_core.models.decoder import UpBlock
from depthformer_core.models.hahi import ConvNormAct, DeformableAttention
from depthformer_core.models.swin import SwinBlock

_KINDS = (
    *(ConvStem, ConvNormAct, DeformableAttention, GatherAttention, PatchEmbed),
    *(SwinBlock, UpBlock, WindowBlock),
)
_NAMES = ("decoder.bottleneck", "upsampling")

QUERY, VALUES, ATTENDED = "query", "value_proj", "output_proj"
"""Values in an attention, behind its name and a point: what it reads, and what it adds."""


@contextlib.contextmanager
def watched(model: DepthFormer, note: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call a function with the output of each block, in the order of computation.

    Args:
        model: A frozen network, or one in the form for export: their blocks have the same names.
        note: Called with a block's name and its output.
    """

    def watch(module: nn.Module, name: str) -> Any:
        return module.register_forward_hook(lambda _, __, output: note(name, output))

    hooks = [
        watch(module, name)
        for name, module in model.named_modules()
        if isinstance(module, _KINDS) or (name in _NAMES and module is not None)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def watched_attentions(model: DepthFormer, note: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call a function with what the attentions of a network in the form for export compute with.

    Args:
        model: The network.
        note: Called with a value's name, such as `neck.self_attention.query`, and the value.
    """
    hooks = []
    for name, module in model.named_modules():
        if not isinstance(module, GatherAttention):
            continue

        def before(_: nn.Module, args: Any, name: str = name) -> None:
            note(f"{name}.{QUERY}", args[0])

        hooks.append(module.register_forward_pre_hook(before))
        for part in (VALUES, ATTENDED):

            def after(_: nn.Module, __: Any, output: Tensor, name: str = f"{name}.{part}") -> None:
                note(name, output)

            hooks.append(module.get_submodule(part).register_forward_hook(after))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
