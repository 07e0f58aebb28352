"""Compilation of CUDA C++ at run time, with a cache on disk."""

import hashlib
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from depthformer_core.code_cache import cache_folder, private_folder
from depthformer_core.errors import warn_once
from depthformer_core.files import replacing

_DIGEST_BYTES = hashlib.sha256().digest_size


class NvrtcError(RuntimeError):
    """NVRTC is missing, or cannot compile the source; the message names the reason."""


def nvrtc_version() -> tuple[int, int]:
    """Return the version of NVRTC.

    Raises:
        NvrtcError: There is none.
    """
    major, minor = _call(_nvrtc(), "nvrtcVersion")
    return int(major), int(minor)


def target(capability: tuple[int, int]) -> str:
    """Return the architecture to compile for.

    Args:
        capability: Compute capability of the device, such as (9, 0).

    Returns:
        The device's own architecture, such as `sm_90`; for a device newer than NVRTC, the newest
        virtual one it knows, such as `compute_121`, which the driver translates.

    Raises:
        NvrtcError: There is no NVRTC, or the device is older than all it knows.
    """
    own = capability[0] * 10 + capability[1]
    (known,) = _call(_nvrtc(), "nvrtcGetSupportedArchs")
    if own in known:
        return f"sm_{own}"
    older = [number for number in known if number < own]
    if not older:
        raise NvrtcError(f"NVRTC {_dotted(nvrtc_version())} does not know sm_{own}")
    return f"compute_{max(older)}"


def compile_cuda(source: str, options: Sequence[str], *, architecture: str) -> tuple[bytes, str]:
    """Compile CUDA C++.

    Args:
        source: The source, which includes no file.
        options: Options of NVRTC.
        architecture: As from `target`.

    Returns:
        The code for the driver, and NVRTC's log.

    Raises:
        NvrtcError: There is no NVRTC, or it found errors; the message holds its log.
    """
    nvrtc = _nvrtc()
    (program,) = _call(nvrtc, "nvrtcCreateProgram", source.encode(), b"kernel.cu", 0, None, None)
    try:
        arguments = [f"--gpu-architecture={architecture}".encode(), *(o.encode() for o in options)]
        result, *_ = nvrtc.nvrtcCompileProgram(program, len(arguments), arguments)
        (size,) = _call(nvrtc, "nvrtcGetProgramLogSize", program)
        buffer = bytes(size)
        _call(nvrtc, "nvrtcGetProgramLog", program, buffer)
        log = buffer.rstrip(b"\0").decode(errors="replace").strip()
        if int(result):
            raise NvrtcError(f"NVRTC refused the source for {architecture}: {log or result}")
        kind = "CUBIN" if architecture.startswith("sm_") else "PTX"
        (size,) = _call(nvrtc, f"nvrtcGet{kind}Size", program)
        code = bytes(size)
        _call(nvrtc, f"nvrtcGet{kind}", program, code)
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return code, log


def compile_cached(source: str, options: Sequence[str], *, architecture: str) -> bytes:
    """Compile CUDA C++, or read the result of an earlier process from the cache.

    An entry that is damaged is compiled again. Where the cache cannot be written, one warning is
    issued.

    Args:
        source: As for `compile_cuda`.
        options: As for `compile_cuda`.
        architecture: As for `compile_cuda`.

    Returns:
        The code for the driver.

    Raises:
        NvrtcError: As for `compile_cuda`.
    """
    made_from = json.dumps([source, list(options), architecture, nvrtc_version()])
    name = f"{architecture}-{hashlib.sha256(made_from.encode()).hexdigest()}.bin"
    try:
        path = private_folder(cache_folder()) / name
        kept = _read_entry(path)
    except OSError as error:
        _warn_of_cache(error)
        return compile_cuda(source, options, architecture=architecture)[0]
    if kept is not None:
        return kept
    code, _ = compile_cuda(source, options, architecture=architecture)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(hashlib.sha256(code).digest() + code)
    except OSError as error:
        _warn_of_cache(error)
    return code


def _read_entry(path: Path) -> bytes | None:
    """Read an entry of the cache; None where it is missing or damaged."""
    if not path.is_file():
        return None
    entry = path.read_bytes()
    digest, code = entry[:_DIGEST_BYTES], entry[_DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None


def _warn_of_cache(error: OSError) -> None:
    warn_once(
        "compiled CUDA kernels cannot be kept, every start compiles them again "
        f"(set XDG_CACHE_HOME to a writable folder): {error}"
    )


def _nvrtc() -> ModuleType:
    try:
        nvrtc = importlib.import_module("cuda.bindings.nvrtc")
    except ImportError as error:
        raise NvrtcError(f"NVRTC is not installed (pip install {_bindings()})") from error
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:
        raise NvrtcError(
            f"the library of NVRTC is not found (pip install {_bindings()} nvidia-cuda-nvrtc)"
        ) from error
    return nvrtc


def _bindings() -> str:
    import torch

    # Other major versions need the libraries of another CUDA than PyTorch's.
    major = (torch.version.cuda or "").partition(".")[0]
    return f'"cuda-bindings=={major}.*"' if major else "cuda-bindings"


def _call(nvrtc: ModuleType, function: str, *args: Any) -> list[Any]:
    returned: tuple[Any, ...] = getattr(nvrtc, function)(*args)
    result, *values = returned
    if int(result):
        raise NvrtcError(f"{function} failed: {result}")
    return values


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
