"""CUDA kernel of multi-scale deformable attention: its choice, its compilation and its launch."""

import ctypes
import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import torch
from torch import Tensor

from depthformer_core.errors import first_line, warn_once
from depthformer_core.ops.cuda_module import CudaModule, DriverError
from depthformer_core.ops.nvrtc import NvrtcError, compile_cached, target

# As in deformable_attention.cu.
MAX_LEVELS = 16
KERNELS = ("attend_located", "attend_from_layers", "attend_backward")
_NUMBERS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}

_MAX_POINTS = 64
_MAX_DIM = 512
_BLOCK = 256
# Coordinates are float32, which holds every integer up to here.
_MAX_SIDE = 2**24
_VECTOR_BYTES = 16


class Parameters(ctypes.Structure):
    """Argument of the kernels; `struct Parameters` of deformable_attention.cu documents it."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("samples", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("reference", ctypes.c_void_p),
        ("gradient", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("value_gradient", ctypes.c_void_p),
        ("sample_gradient", ctypes.c_void_p),
        ("weight_gradient", ctypes.c_void_p),
        ("rows", ctypes.c_longlong),
        ("queries", ctypes.c_int),
        ("tiles", ctypes.c_uint),
        ("height", ctypes.c_int * MAX_LEVELS),
        ("width", ctypes.c_int * MAX_LEVELS),
        ("first", ctypes.c_int * MAX_LEVELS),
    )


@dataclass(frozen=True)
class Configuration:
    """Constants that the kernel is compiled with.

    Attributes:
        heads: Attention heads.
        levels: Feature maps.
        points: Samples, per head and level.
        dim: Channels of a head.
        value: Type of values and outputs.
        projected: Type of offsets and logits, in the fused form.
        block: Threads of a block, a multiple of 32.
    """

    heads: int
    levels: int
    points: int
    dim: int
    value: torch.dtype
    projected: torch.dtype
    block: int = _BLOCK

    @property
    def vectors(self) -> int:
        """Reads of 16 bytes that a head's row takes."""
        return self.dim * self.value.itemsize // _VECTOR_BYTES

    @property
    def group(self) -> int:
        """Lanes that share one query of one head: a power of two.

        Eight read 128 bytes at once. More only where each lane would have more than two vectors.
        """
        group = 1
        while group < min(self.vectors, 32) and (group < 8 or self.vectors > 2 * group):
            group *= 2
        return group

    @property
    def macros(self) -> dict[str, int]:
        """Macros of deformable_attention.cu."""
        return {
            "HEADS": self.heads,
            "LEVELS": self.levels,
            "POINTS": self.points,
            "DIM": self.dim,
            "VALUE": _NUMBERS[self.value],
            "PROJECTED": _NUMBERS[self.projected],
            "BLOCK": self.block,
            "GROUP": self.group,
        }

    @property
    def options(self) -> list[str]:
        """Options of NVRTC."""
        return ["--std=c++17", *(f"-D{name}={value}" for name, value in self.macros.items())]

    def parameters(
        self, *, rows: int, queries: int, spatial_shapes: Sequence[tuple[int, int]]
    ) -> Parameters:
        """Fill in everything but the pointers."""
        parameters = Parameters(rows=rows, queries=queries, tiles=self._tiles(queries))
        first = 0
        for level, (height, width) in enumerate(spatial_shapes):
            parameters.height[level], parameters.width[level] = height, width
            parameters.first[level] = first
            first += height * width
        return parameters

    def blocks(self, *, batch: int, queries: int) -> int:
        """Return the blocks of the grid."""
        return batch * self.heads * self._tiles(queries)

    def _tiles(self, queries: int) -> int:
        return -(-queries * self.group // self.block)


def source() -> str:
    """Read deformable_attention.cu."""
    return (resources.files(__package__) / "deformable_attention.cu").read_text()


def attention_path(device: torch.device | str, head_dim: int) -> str:
    """Return which implementation of deformable attention runs, and why, for diagnostics.

    Nothing is compiled for it.

    Args:
        device: Where the values are.
        head_dim: Channels of a head.

    Returns:
        A short phrase, such as `CUDA kernel for sm_90` or `portable: NVRTC is not installed (pip
        install cuda-bindings)`.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return f"portable: the kernel is for NVIDIA GPUs, not for {device.type}"
    if head_dim % 8 or not 8 <= head_dim <= _MAX_DIM:
        return f"portable: {head_dim} channels a head are no multiple of 8 up to {_MAX_DIM}"
    device = _indexed(device)
    # A copy: other threads add failures, and hold the lock while they compile, for seconds.
    known = _failures.copy().items()
    if failures := [reason for (index, _), reason in known if index == device.index]:
        return f"portable: {first_line(failures[-1])}"
    try:
        return f"CUDA kernel for {_architecture(device)}"
    except NvrtcError as error:
        return f"portable: {error}"


def find_kernel(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    *,
    queries: int,
    points: int,
    projected: torch.dtype = torch.float32,
) -> "Kernel | None":
    """Load the kernel, the first time after compiling it.

    If the kernel cannot be compiled or loaded on a GPU, one warning names the reason, and it is
    not tried again. After an out-of-memory error it is tried again.

    Args:
        value: (B, rows, heads, dim).
        spatial_shapes: (H, W) of each level.
        queries: Queries of an image.
        points: Samples, per head and level.
        projected: Type of offsets and logits, for the fused form.

    Returns:
        The kernel; None where the portable implementation runs.

    Raises:
        torch.cuda.OutOfMemoryError: There is no memory to load it.
    """
    batch, rows, heads, dim = value.shape
    levels = len(spatial_shapes)
    if (
        not value.is_cuda
        or value.dtype not in _NUMBERS
        or projected not in _NUMBERS
        or dim % 8
        or not 8 <= dim <= _MAX_DIM
        or not 1 <= levels <= MAX_LEVELS
        or not 1 <= points <= _MAX_POINTS
        or max(map(max, spatial_shapes)) > _MAX_SIDE
    ):
        return None
    configuration = Configuration(heads, levels, points, dim, value.dtype, projected)
    if (
        # Rows of an image are counted in vectors, blocks by the grid, both in 32 bits.
        rows * heads * configuration.vectors >= 2**31
        or not 0 < configuration.blocks(batch=batch, queries=queries) < 2**31
    ):
        return None
    key = (value.device.index, configuration)
    with _lock:
        if key in _failures:
            return None
        if key not in _kernels:
            try:
                _kernels[key] = Kernel(configuration, device=value.device)
            except (NvrtcError, DriverError, ImportError) as error:
                _failures[key] = str(error)
                warn_once(
                    f"deformable attention runs its portable implementation on {value.device}, "
                    f"which is slower than its CUDA kernel: {error}"
                )
                return None
        return _kernels[key]


class Kernel:
    """The kernels of one configuration on one device.

    Args:
        configuration: What to compile.
        device: The device.

    Raises:
        NvrtcError: It cannot be compiled.
        DriverError: It cannot be loaded.
        torch.cuda.OutOfMemoryError: There is no memory to load it.
        ImportError: The bindings of the driver are missing.
    """

    def __init__(self, configuration: Configuration, *, device: torch.device) -> None:
        code = compile_cached(source(), configuration.options, architecture=_architecture(device))
        self._configuration = configuration
        self._module = CudaModule(code, names=KERNELS, device=device)

    def attend(
        self,
        value: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        sampling_locations: Tensor,
        attention_weights: Tensor,
    ) -> Tensor:
        """Compute `ms_deform_attn`."""
        return self._attend(
            "attend_located",
            value,
            spatial_shapes,
            samples=_dense(sampling_locations, torch.float32),
            weights=_dense(attention_weights, torch.float32),
        )

    def attend_fused(
        self,
        value: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        offsets: Tensor,
        logits: Tensor,
        reference_points: Tensor,
    ) -> Tensor:
        """Compute `fused_deform_attn`."""
        projected = self._configuration.projected
        return self._attend(
            "attend_from_layers",
            value,
            spatial_shapes,
            samples=_dense(offsets, projected),
            weights=_dense(logits, projected),
            reference=_dense(reference_points, torch.float32),
        )

    def gradients(
        self,
        gradient: Tensor,
        value: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        sampling_locations: Tensor,
        attention_weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the gradients of `ms_deform_attn`'s value, locations and weights."""
        locations = _dense(sampling_locations, torch.float32)
        weights = _dense(attention_weights, torch.float32)
        of_value = torch.zeros_like(
            value, dtype=torch.float32, memory_format=torch.contiguous_format
        )
        of_locations = torch.empty_like(locations)
        of_weights = torch.empty_like(weights)
        self._launch(
            "attend_backward",
            spatial_shapes,
            value=_dense(value, value.dtype),
            samples=locations,
            weights=weights,
            gradient=_dense(gradient, value.dtype),
            value_gradient=of_value,
            sample_gradient=of_locations,
            weight_gradient=of_weights,
        )
        return (
            of_value.to(value.dtype),
            of_locations.to(sampling_locations.dtype),
            of_weights.to(attention_weights.dtype),
        )

    def _attend(
        self, name: str, value: Tensor, spatial_shapes: Sequence[tuple[int, int]], **tensors: Tensor
    ) -> Tensor:
        batch, _, heads, dim = value.shape
        output = value.new_empty(batch, tensors["samples"].shape[1], heads * dim)
        self._launch(
            name, spatial_shapes, value=_dense(value, value.dtype), output=output, **tensors
        )
        return output

    def _launch(
        self, name: str, spatial_shapes: Sequence[tuple[int, int]], **tensors: Tensor
    ) -> None:
        value, queries = tensors["value"], tensors["samples"].shape[1]
        parameters = self._configuration.parameters(
            rows=value.shape[1], queries=queries, spatial_shapes=spatial_shapes
        )
        for field, tensor in tensors.items():
            if tensor.device != value.device:
                raise ValueError(f"value is on {value.device}, {field} on {tensor.device}")
            setattr(parameters, field, tensor.data_ptr())
        self._module.launch(
            name,
            blocks=self._configuration.blocks(batch=value.shape[0], queries=queries),
            threads=self._configuration.block,
            parameters=parameters,
        )


_Key = tuple[int, Configuration]
_kernels: dict[_Key, Kernel] = {}
_failures: dict[_Key, str] = {}
_lock = threading.Lock()


def _dense(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Make a tensor contiguous and aligned, so that 16 bytes are read at a time."""
    tensor = tensor.detach().to(dtype).contiguous()
    return tensor if tensor.data_ptr() % _VECTOR_BYTES == 0 else tensor.clone()


def _indexed(device: torch.device) -> torch.device:
    if device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device())


@functools.cache
def _architecture(device: torch.device) -> str:
    if torch.version.hip:
        raise NvrtcError("the kernel is for NVIDIA GPUs, this PyTorch is for AMD's")
    return target(torch.cuda.get_device_capability(device))
