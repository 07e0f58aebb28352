"""deformable_attention.cu: compiled for GPUs, and run on the CPU."""

import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depthformer_core.ops import attention_kernel, portable_attention
from depthformer_core.ops.attention_kernel import KERNELS, Configuration, Parameters
from depthformer_core.ops.nvrtc import NvrtcError, compile_cuda

SHIM = Path(__file__).parent / "deformable_attention_shim" / "host.cpp"
HALVES = (torch.float16, torch.bfloat16)
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SWIN_LARGE = {"heads": 8, "levels": 4, "points": 8, "dim": 64}


def configure(dtype: torch.dtype, *, block: int = 64, **sizes: int) -> Configuration:
    return Configuration(**sizes, value=dtype, projected=dtype, block=block)


# ---------------------------------------------------------------- compiled for GPUs, without one


@functools.cache
def compile_log(configuration: Configuration, architecture: str) -> str:
    try:
        _, log = compile_cuda(
            attention_kernel.source(),
            [*configuration.options, "--ptxas-options=-v"],
            architecture=architecture,
        )
    except NvrtcError as error:
        if "NVRTC refused" in str(error) and "error:" in str(error):
            raise
        pytest.skip(str(error))
    return log


def spilled_bytes(log: str) -> dict[str, int]:
    """Bytes that every kernel spills out of its registers, from the log of ptxas."""
    entries = re.findall(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads",
        log,
        flags=re.DOTALL,
    )
    return {name: int(stores) + int(loads) for name, stores, loads in entries}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["sm_80", "sm_87", "sm_89", "sm_90", "sm_110"])
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_swin_large_needs_no_memory_for_registers(dtype: torch.dtype, architecture: str) -> None:
    log = compile_log(configure(dtype, block=256, **SWIN_LARGE), architecture)
    assert spilled_bytes(log) == dict.fromkeys(KERNELS, 0)
    assert "warning" not in log


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes",
    [
        {"heads": 1, "levels": 1, "points": 1, "dim": 8},
        {"heads": 3, "levels": 2, "points": 3, "dim": 24},
        {"heads": 8, "levels": 4, "points": 8, "dim": 32},
        {"heads": 2, "levels": 4, "points": 1, "dim": 16},
        {"heads": 4, "levels": 5, "points": 4, "dim": 128},
        {"heads": 1, "levels": 16, "points": 64, "dim": 512},
    ],
    ids=["smallest", "odd", "swin tiny", "small", "wide heads", "largest"],
)
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_other_sizes_compile(dtype: torch.dtype, sizes: dict[str, int]) -> None:
    log = compile_log(configure(dtype, block=256, **sizes), "sm_87")
    spilled = spilled_bytes(log)
    assert set(spilled) == set(KERNELS)
    assert spilled["attend_located"] == spilled["attend_from_layers"] == 0


@pytest.mark.parametrize(
    ("dim", "dtype", "group"),
    [
        (64, torch.float16, 8),
        (64, torch.float32, 8),
        (32, torch.bfloat16, 4),
        (8, torch.float16, 1),
        (24, torch.float16, 4),
        (256, torch.float16, 16),
        (512, torch.float32, 32),
    ],
)
def test_lanes_of_a_row(dim: int, dtype: torch.dtype, group: int) -> None:
    assert configure(dtype, heads=1, levels=1, points=1, dim=dim).group == group


# ------------------------------------------------------------------------------- run on the CPU


@functools.cache
def libraries() -> "tempfile.TemporaryDirectory[str]":
    """A folder that lasts as long as what is loaded from it."""
    return tempfile.TemporaryDirectory()


@functools.cache
def build(configuration: Configuration) -> ctypes.CDLL:
    """Compile the kernels with the host's compiler."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    macros = "_".join(map(str, configuration.macros.values()))
    library = Path(libraries().name) / f"{macros}.so"
    result = subprocess.run(
        [
            compiler,
            *("-std=c++17", "-O1", "-shared", "-fPIC"),
            # Else the shared memory of all configurations would be one.
            "-fno-gnu-unique",
            # What a CPU and a GPU round alike stays comparable bit by bit.
            "-ffp-contract=off",
            # Whatever C++ does not define ends the test at once.
            *("-fsanitize=undefined,float-cast-overflow", "-fsanitize-undefined-trap-on-error"),
            *(f"-D{name}={value}" for name, value in configuration.macros.items()),
            f'-DSOURCE="{Path(attention_kernel.__file__).with_name("deformable_attention.cu")}"',
            *(str(SHIM), "-o", str(library)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "_Float16" in result.stderr:
        pytest.skip("this g++ has no half-precision numbers")
    assert result.returncode == 0, result.stderr
    loaded = ctypes.CDLL(str(library))
    assert loaded.parameters_size() == ctypes.sizeof(Parameters)
    return loaded


def fenced(tensor: torch.Tensor) -> torch.Tensor:
    """Copy a tensor between NaN, so that whatever reads beyond it shows."""
    room = 4096
    buffer = torch.full((tensor.numel() + 2 * room,), float("nan"), dtype=tensor.dtype)
    inner = buffer[room : room + tensor.numel()].view(tensor.shape)
    inner.copy_(tensor)
    assert inner.data_ptr() % 16 == 0
    return inner


def run_kernel(
    name: str,
    configuration: Configuration,
    shapes: list[tuple[int, int]],
    *,
    batch: int,
    queries: int,
    **tensors: torch.Tensor,
) -> None:
    parameters = configuration.parameters(
        rows=sum(height * width for height, width in shapes),
        queries=queries,
        spatial_shapes=shapes,
    )
    for field, tensor in tensors.items():
        setattr(parameters, field, tensor.data_ptr())
    blocks = configuration.blocks(batch=batch, queries=queries)
    getattr(build(configuration), f"run_{name}")(ctypes.byref(parameters), blocks)


class Case:
    """Inputs of one configuration, what the kernels make of them, and what PyTorch does."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        shapes: list[tuple[int, int]],
        batch: int = 2,
        queries: int = 11,
        low: float = -0.3,
        high: float = 1.3,
        seed: int = 0,
    ) -> None:
        self.configuration = configuration
        self.shapes = shapes
        self.batch, self.queries = batch, queries
        generator = torch.Generator().manual_seed(seed)
        heads, levels = configuration.heads, configuration.levels
        rows = sum(height * width for height, width in shapes)
        samples = (batch, queries, heads, levels, configuration.points)

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator)

        self.value = fenced(draw(batch, rows, heads, configuration.dim).to(configuration.value))
        self.locations = fenced(low + (high - low) * torch.rand(*samples, 2, generator=generator))
        self.weights = fenced(draw(*samples).flatten(3).softmax(-1).view(samples))
        self.gradient = fenced(
            draw(batch, queries, heads * configuration.dim).to(configuration.value)
        )
        per_query = heads * levels * configuration.points
        projected = configuration.projected
        self.offsets = fenced((3 * draw(batch, queries, 2 * per_query)).to(projected))
        self.logits = fenced((3 * draw(batch, queries, per_query)).to(projected))
        self.reference = fenced(torch.rand(queries, 2, generator=generator))

    def _run(self, name: str, **tensors: torch.Tensor) -> None:
        run_kernel(
            name,
            self.configuration,
            self.shapes,
            batch=self.batch,
            queries=self.queries,
            value=self.value,
            **tensors,
        )

    def attend(self) -> torch.Tensor:
        output = fenced(torch.zeros_like(self.gradient))
        self._run("attend_located", samples=self.locations, weights=self.weights, output=output)
        return output

    def attend_fused(self) -> torch.Tensor:
        output = fenced(torch.zeros_like(self.gradient))
        self._run(
            "attend_from_layers",
            samples=self.offsets,
            weights=self.logits,
            reference=self.reference,
            output=output,
        )
        return output

    def gradients(self) -> list[torch.Tensor]:
        found = [
            fenced(torch.zeros(tensor.shape))
            for tensor in (self.value, self.locations, self.weights)
        ]
        self._run(
            "attend_backward",
            samples=self.locations,
            weights=self.weights,
            gradient=self.gradient,
            value_gradient=found[0],
            sample_gradient=found[1],
            weight_gradient=found[2],
        )
        return found

    def expected(self) -> torch.Tensor:
        return portable_attention.attend(
            self.value.float(), self.shapes, self.locations, self.weights
        )

    def expected_fused(self) -> torch.Tensor:
        return portable_attention.attend_fused(
            self.value.float(), self.shapes, self.offsets, self.logits, self.reference
        )

    def expected_gradients(self) -> tuple[torch.Tensor, ...]:
        return portable_attention.gradients(
            self.gradient.float(), self.value.float(), self.shapes, self.locations, self.weights
        )

    def check(self) -> None:
        # Sums are float32 whatever the values; only the output is rounded.
        half = self.configuration.value in HALVES
        rounding = {torch.float16: 1e-3, torch.bfloat16: 8e-3}.get(self.configuration.value, 2e-5)
        close = {"rtol": rounding, "atol": rounding if half else 2e-5}
        torch.testing.assert_close(self.attend().float(), self.expected(), **close)
        torch.testing.assert_close(self.attend_fused().float(), self.expected_fused(), **close)
        names = ("value", "locations", "weights")
        both = zip(names, self.gradients(), self.expected_gradients(), strict=True)
        for name, actual, expected in both:
            torch.testing.assert_close(actual, expected, rtol=2e-4, atol=2e-4, msg=name)


ODD = {"heads": 3, "levels": 3, "points": 3, "dim": 24}
NARROW = {"heads": 1, "levels": 2, "points": 4, "dim": 8}
MAPS = [(7, 9), (4, 5), (1, 3), (1, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_swin_large_on_the_cpu(dtype: torch.dtype) -> None:
    Case(configure(dtype, **SWIN_LARGE), shapes=MAPS, queries=5).check()


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_rows_that_no_power_of_two_divides(dtype: torch.dtype) -> None:
    Case(configure(dtype, **ODD), shapes=MAPS[:3]).check()


def test_rows_of_several_reads_a_lane() -> None:
    sizes = {"heads": 1, "levels": 1, "points": 2, "dim": 264}
    Case(configure(torch.float32, **sizes), shapes=[(3, 4)], queries=3).check()


@pytest.mark.parametrize(
    "options",
    [
        {"low": 0.0, "high": 1.0},
        {"low": -50.0, "high": 50.0},
        {"shapes": [(1, 1), (1, 1)]},
        {"shapes": [(1, 6), (6, 1)]},
        {"queries": 1, "batch": 1},
        {"queries": 200, "batch": 3},
    ],
    ids=["inside", "far outside", "one pixel", "one row, one column", "one query", "many queries"],
)
def test_where_samples_are(options) -> None:
    Case(configure(torch.float32, **NARROW), **{"shapes": [(7, 9), (4, 5)], **options}).check()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize("sizes", [SWIN_LARGE, {**ODD, "levels": 4}, {**NARROW, "levels": 4}])
@pytest.mark.parametrize("sharing", [2, 3, 5, 23], ids=lambda count: f"{count} neighbours")
def test_neighbours_at_the_same_pixels(
    dtype: torch.dtype, sizes: dict[str, int], sharing: int
) -> None:
    """Their gradients of a pixel are added together first."""
    case = Case(configure(dtype, **sizes), shapes=MAPS, queries=23)
    first = torch.arange(23) // sharing * sharing
    # The same four pixels, somewhere else between them.
    between = 0.2 * torch.rand_like(case.locations)
    pixels = torch.tensor([(w, h) for h, w in MAPS])[:, None]
    corner = (case.locations[:, first] * pixels - 0.5).floor() + 0.5
    case.locations.copy_((corner + 0.4 + between) / pixels)
    case.check()
    # Who has no share in a pixel has none in what becomes of it.
    case.weights[:, 1] = 0
    case.gradient[:, 1] = torch.inf
    assert case.gradients()[0].isfinite().all()


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    shapes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=3, max_size=3),
    queries=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_any_maps(**options) -> None:
    Case(configure(torch.float32, **ODD), **options).check()


def make_case(shapes: list[tuple[int, int]] | None = None) -> Case:
    return Case(configure(torch.float32, **NARROW), shapes=shapes or [(7, 9), (4, 5)])


@pytest.mark.parametrize("far", [-1e30, 1e30, float("inf"), -float("inf")])
def test_nothing_is_read_however_far_samples_are(far: float) -> None:
    case = make_case()
    case.locations.fill_(far)
    assert torch.equal(case.attend(), torch.zeros_like(case.gradient))
    assert not any(gradient.any() for gradient in case.gradients())
    case.offsets.fill_(far)
    assert torch.equal(case.attend_fused(), torch.zeros_like(case.gradient))


def test_nan_locations_stay_within_their_query() -> None:
    case = make_case()
    expected, by_value = case.attend(), case.gradients()[0]
    case.locations[:, 3] = float("nan")
    case.offsets[:, 4] = float("nan")
    output, fused = case.attend(), case.attend_fused()
    assert output[:, 3].isnan().all()
    assert fused[:, 4].isnan().all()
    kept = torch.arange(case.queries) != 3
    assert torch.equal(output[:, kept], expected[:, kept])
    assert not fused[:, torch.arange(case.queries) != 4].isnan().any()
    # As on the CPU, such a query adds no gradient to the values.
    of_value, of_locations, of_weights = case.gradients()
    assert of_value.isfinite().all()
    assert not torch.equal(of_value, by_value)
    assert of_locations[:, 3].isnan().all()
    assert of_weights[:, 3].isnan().all()
    for actual, reference in zip(case.gradients(), case.expected_gradients(), strict=True):
        torch.testing.assert_close(actual, reference, rtol=2e-4, atol=2e-4, equal_nan=True)


def test_nan_in_one_coordinate_reads_nothing_beyond() -> None:
    case = make_case()
    case.locations[:, 3, ..., 0] = float("nan")
    output = case.attend()
    assert output[:, 3].isnan().all()
    assert not output[:, :3].isnan().any()
    assert case.gradients()[0].isfinite().all()


def test_nan_logits_stay_within_their_query() -> None:
    case = make_case()
    case.logits[:, 2, 0] = float("nan")
    case.logits[:, 5] = -float("inf")
    torch.testing.assert_close(
        case.attend_fused(), case.expected_fused(), rtol=2e-5, atol=2e-5, equal_nan=True
    )


def test_samples_on_the_pixels_and_edges() -> None:
    case = make_case(shapes=[(4, 8), (4, 8)])
    # Centres, edges and the outermost reach of the 4 rows and 8 columns; exact in float32.
    x = torch.arange(-2, 19) / 16
    y = torch.arange(-2, 11) / 8
    draw = torch.Generator().manual_seed(1)
    pick = functools.partial(torch.randint, generator=draw)
    shape = case.locations.shape[:-1]
    case.locations.copy_(torch.stack((x[pick(0, 21, shape)], y[pick(0, 13, shape)]), -1))
    case.check()


def test_large_logits_do_not_overflow() -> None:
    case = make_case()
    case.logits.mul_(1e4)
    torch.testing.assert_close(case.attend_fused(), case.expected_fused(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("dtype", "projected"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float16)],
    ids=["float32 layers", "float16 layers"],
)
def test_layers_of_another_type(dtype: torch.dtype, projected: torch.dtype) -> None:
    case = Case(
        Configuration(**NARROW, value=dtype, projected=projected, block=64), shapes=MAPS[:2]
    )
    rounding = 8e-3 if dtype == torch.bfloat16 else 2e-5
    torch.testing.assert_close(
        case.attend_fused().float(), case.expected_fused(), rtol=rounding, atol=rounding
    )
