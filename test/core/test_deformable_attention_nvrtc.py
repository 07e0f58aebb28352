"""Compiled kernels are kept, and a failed compilation is reported once."""

import itertools
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from depthformer_core.errors import warn_once
from depthformer_core.ops import attention_kernel, attention_path, nvrtc
from depthformer_core.ops.nvrtc import NvrtcError, cache_folder, compile_cached, compile_cuda

SOURCE = 'extern "C" __global__ void add(float *sum) { sum[threadIdx.x] += AMOUNT; }'
OPTIONS = ["-DAMOUNT=1.0f"]


@pytest.fixture
def installed() -> None:
    try:
        nvrtc.nvrtc_version()
    except NvrtcError as error:
        pytest.skip(str(error))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    warn_once.cache_clear()
    return tmp_path / "cache" / "depthformer"


def compile_here() -> bytes:
    return compile_cached(SOURCE, OPTIONS, architecture="sm_90")


@pytest.mark.usefixtures("installed")
def test_code_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compile_here()
    assert first[1:4] == b"ELF"
    (entry,) = cache.iterdir()
    assert entry.name.startswith("sm_90-")
    monkeypatch.setattr(nvrtc, "compile_cuda", None)  # is not called again
    assert compile_here() == first


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("source", "options", "architecture"),
    [
        (SOURCE + "\n", OPTIONS, "sm_90"),
        (SOURCE, ["-DAMOUNT=2.0f"], "sm_90"),
        (SOURCE, OPTIONS, "sm_87"),
        (SOURCE, OPTIONS, "compute_90"),
    ],
    ids=["source", "options", "architecture", "virtual architecture"],
)
def test_other_code_has_another_entry(
    cache: Path, source: str, options: list[str], architecture: str
) -> None:
    compile_here()
    compile_cached(source, options, architecture=architecture)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 4000], ids=["empty", "cut", "changed"])
def test_damaged_code_is_compiled_again(cache: Path, damage: bytes) -> None:
    first = compile_here()
    (entry,) = cache.iterdir()
    entry.write_bytes(damage)
    assert compile_here() == first
    assert len(entry.read_bytes()) > len(first)


@pytest.mark.usefixtures("installed")
def test_a_cache_that_cannot_be_written_costs_one_warning(cache: Path) -> None:
    cache.parent.write_text("a file where the folder would be")
    with pytest.warns(RuntimeWarning, match="cannot be kept.*XDG_CACHE_HOME"):
        first = compile_here()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compile_here() == first


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_processes_that_start_at_once(cache: Path) -> None:
    program = (
        "from depthformer_core.ops.nvrtc import compile_cached;"
        f"print(hash(compile_cached({SOURCE!r}, {OPTIONS!r}, architecture='sm_90')))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error::RuntimeWarning", "-c", program],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert first == second != b""
    assert len(list(cache.iterdir())) == 1


@pytest.mark.usefixtures("installed")
def test_refused_source_is_shown_with_the_log() -> None:
    with pytest.raises(NvrtcError, match=r"refused the source for sm_90: .*error: .*AMOUNT"):
        compile_cuda(SOURCE, [], architecture="sm_90")


def test_cache_is_below_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder() == tmp_path / ".cache" / "depthformer"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("capability", "name"), [((8, 7), "sm_87"), ((99, 0), "compute_"), ((9, 0), "sm_90")]
)
def test_what_is_compiled_for(capability: tuple[int, int], name: str) -> None:
    assert nvrtc.target(capability).startswith(name)


@pytest.mark.usefixtures("installed")
def test_devices_that_are_too_old() -> None:
    with pytest.raises(NvrtcError, match="does not know sm_10"):
        nvrtc.target((1, 0))


@pytest.mark.usefixtures("installed")
def test_a_newer_device_gets_code_for_the_driver(cache: Path) -> None:
    code = compile_cached(SOURCE, OPTIONS, architecture=nvrtc.target((99, 0)))
    assert b".target" in code
    assert cache.is_dir()


# ------------------------------------------------------------- a GPU that the kernel cannot run on


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, cache: Path) -> FakeTensorMode:
    """A GPU of which nothing is there but its tensors' shapes."""
    assert not cache.exists()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(attention_kernel, "_kernels", {})
    monkeypatch.setattr(attention_kernel, "_failures", {})
    attention_kernel._architecture.cache_clear()
    yield FakeTensorMode()
    attention_kernel._architecture.cache_clear()


def find_kernel(gpu: FakeTensorMode, *, dim: int = 64) -> object:
    with gpu:
        value = torch.empty(1, 6, 2, dim, device="cuda", dtype=torch.float16)
        return attention_kernel.find_kernel(value, [(2, 3)], queries=4, points=2)


@pytest.mark.usefixtures("installed")
def test_path_of_a_gpu_with_everything(gpu: FakeTensorMode) -> None:
    assert attention_path("cuda:0", 64) == "CUDA kernel for sm_90"
    assert attention_path("cuda:0", 20).startswith("portable: 20 channels a head")
    assert find_kernel(gpu, dim=20) is None


def test_gpu_without_nvrtc_is_warned_of_once(
    gpu: FakeTensorMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", None)
    with pytest.warns(
        RuntimeWarning, match=r"portable implementation on cuda:0.*pip install.*cuda-bindings"
    ):
        assert find_kernel(gpu) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_kernel(gpu) is None
        assert find_kernel(gpu, dim=32) is None
    assert attention_path("cuda:0", 64).startswith("portable: NVRTC is not installed (pip install")


@pytest.mark.usefixtures("installed", "gpu")
def test_path_while_kernels_fail_in_another_thread() -> None:
    done = threading.Event()

    def fail() -> None:
        for number in itertools.cycle(range(500)):
            if done.is_set():
                return
            if number == 0:
                attention_kernel._failures.clear()
            attention_kernel._failures[1, number] = "no kernel"

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=fail)
    thread.start()
    try:
        for _ in range(300):
            assert attention_path("cuda:0", 64) == "CUDA kernel for sm_90"
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_gpu_of_amd_is_warned_of(gpu: FakeTensorMode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.2")
    with pytest.warns(RuntimeWarning, match="for NVIDIA GPUs, this PyTorch is for AMD's"):
        assert find_kernel(gpu) is None
    assert attention_path("cuda:0", 64).startswith("portable: the kernel is for NVIDIA GPUs")


@pytest.mark.usefixtures("installed")
def test_kernel_that_does_not_compile_is_not_silent(
    gpu: FakeTensorMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_kernel, "source", lambda: "no C++")
    with pytest.warns(RuntimeWarning, match=r"NVRTC refused the source for sm_90(.|\n)*error:"):
        assert find_kernel(gpu) is None
    assert attention_path("cuda:0", 64).startswith("portable: NVRTC refused the source for sm_90")


@pytest.mark.usefixtures("installed")
def test_memory_that_is_full_is_tried_again(
    gpu: FakeTensorMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    class Full:
        def __init__(self, *_: object, **__: object) -> None:
            calls.append(1)
            if len(calls) == 1:
                raise torch.cuda.OutOfMemoryError("cuModuleLoadData failed")

    monkeypatch.setattr(attention_kernel, "Kernel", Full)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        find_kernel(gpu)
    assert attention_path("cuda:0", 64) == "CUDA kernel for sm_90"
    assert isinstance(find_kernel(gpu), Full)


def test_path_of_a_cpu() -> None:
    assert attention_path("cpu", 64) == "portable: the kernel is for NVIDIA GPUs, not for cpu"


def test_nothing_of_cuda_is_imported_with_the_package() -> None:
    """PyTorch imports some of it itself."""
    program = (
        "import sys, torch; before = set(sys.modules); import depthformer_core.ops as ops;"
        "ops.ms_deform_attn(torch.zeros(1, 1, 1, 8), [(1, 1)], torch.zeros(1, 1, 1, 1, 1, 2),"
        "torch.ones(1, 1, 1, 1, 1)); new = set(sys.modules) - before;"
        "print([name for name in new if name.startswith('cuda.')])"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "[]"
