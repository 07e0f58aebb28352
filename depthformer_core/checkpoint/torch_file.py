"""Files of `torch.save`, read without running what is pickled in them.

Such a file is a ZIP archive: a pickle of the object that was saved, and beside it the bytes of each
tensor. Here the pickle is read with every class and function but those that make tensors replaced
by one that does nothing, so nothing is imported and nothing runs; tensors are read on
access. `torch.load(weights_only=True)` refuses a file for a NumPy scalar in its metadata.
"""

import io
import math
import os
import pickle
import re
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import cast

import torch
from torch import Tensor

from depthformer_core.checkpoint.pickle_limits import check_pickle
from depthformer_core.errors import CheckpointError

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_PICKLE = "data.pkl"
# PyTorch's message about a class or function, and the terminal colours in it.
_UNSUPPORTED = re.compile(r"GLOBAL ([\w.]+)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ZIP_ERRORS = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
_LEGACY_ERRORS = (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError)


class _Passive:
    """Base of all objects that a pickle can reach: no pickle can change it."""

    def __setstate__(self, *_: object) -> None:
        """Ignore attributes."""


class Unknown(_Passive, dict[object, object]):
    """Placeholder of an object of a class that is not imported; one like a dict keeps its items."""

    def __new__(cls, *_: object, **__: object) -> "Unknown":
        """Take any arguments."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        """Ignore the arguments."""
        super().__init__()

    def __call__(self, *_: object, **__: object) -> "Unknown":
        """Stand for the result of a call, too."""
        return self

    def append(self, *_: object) -> None:
        """Ignore an item of what is like a list."""

    extend = add = update = append  # type: ignore[assignment]

    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


class _StorageType(_Passive):
    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Storage(_Passive):
    def __init__(self, key: str, dtype: torch.dtype, length: int) -> None:
        self.key = key
        self.dtype = dtype
        self.length = length


class StoredTensor(_Passive):
    """A tensor whose values are still in the file.

    Attributes:
        shape: Its size along each axis.
        dtype: Type of its values.
    """

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        self.storage = storage
        self.offset = offset
        self.shape = shape
        self.stride = stride

    @property
    def dtype(self) -> torch.dtype:
        """Type of its values."""
        return self.storage.dtype


class _RebuildTensor(_Passive):
    """Replacement of `torch._utils._rebuild_tensor_v2`."""

    def __call__(
        self, storage: object, offset: object, shape: object, stride: object, *_: object
    ) -> StoredTensor:
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor has no storage")
        sizes, steps = _whole_numbers(shape), _whole_numbers(stride)
        (start,) = _whole_numbers((offset,))
        if len(sizes) != len(steps):
            raise pickle.UnpicklingError(f"a tensor has shape {sizes} and stride {steps}")
        last = start + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
        if 0 not in sizes and last >= storage.length:
            raise pickle.UnpicklingError(
                f"a tensor of shape {sizes}, stride {steps} and offset {start} lies outside its "
                f"storage of {storage.length} values"
            )
        return StoredTensor(storage, start, sizes, steps)


class _RebuildParameter(_Passive):
    """Replacement of `torch._utils._rebuild_parameter`."""

    def __call__(self, data: object, *_: object) -> object:
        return data


class _RebuildFromType(_Passive):
    """Replacement of `torch._tensor._rebuild_from_type_v2`, of tensors that have attributes."""

    def __call__(self, function: object, _: object, arguments: object, *__: object) -> object:
        if not isinstance(function, _RebuildTensor | _RebuildParameter):
            return Unknown()
        if not isinstance(arguments, tuple):
            raise pickle.UnpicklingError("a tensor has no arguments")
        return function(*arguments)


_KNOWN: dict[tuple[str, str], _Passive] = {
    ("torch._utils", "_rebuild_tensor"): _RebuildTensor(),
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
    ("torch._utils", "_rebuild_parameter_with_state"): _RebuildParameter(),
    ("torch._tensor", "_rebuild_from_type_v2"): _RebuildFromType(),
    **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGES.items()},
}


class _Unpickler(pickle.Unpickler):
    """Unpickler of plain values and `StoredTensor`; everything else becomes `Unknown`.

    Args:
        data: The pickle.
        sizes: Bytes of each storage by its key.
    """

    def __init__(self, data: bytes, *, sizes: Mapping[str, int]) -> None:
        # Latin-1 has a letter for every byte of what Python 2 wrote.
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> object:
        """Return the replacement of a class or function."""
        return _KNOWN.get((module, name), Unknown)

    def persistent_load(self, pid: object) -> _Storage:
        """Return the storage of a tensor beside the pickle."""
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise pickle.UnpicklingError(f"unknown persistent object {pid!r:.100}")
        _, kind, key, _, length = pid
        if not isinstance(kind, _StorageType) or not isinstance(key, str):
            raise pickle.UnpicklingError("a tensor is of a type that no weights have")
        (count,) = _whole_numbers((length,))
        there, wanted = self._sizes.get(key), count * kind.dtype.itemsize
        if there != wanted:
            raise pickle.UnpicklingError(
                f"data/{key} has {there} bytes, its tensor wants {wanted}"
                if there is not None
                else f"data/{key} is missing"
            )
        return _Storage(key, kind.dtype, count)


class TorchFile:
    """A file of `torch.save`, as a context manager.

    Files of PyTorch before 1.6, which are no ZIP archives, are read by `torch.load` with
    `weights_only=True`, whole.

    Args:
        path: The file.

    Attributes:
        content: What was saved: plain values, `Unknown` where they were of other classes, and for
            each tensor a `StoredTensor`, or a `Tensor` where the whole file was read.

    Raises:
        CheckpointError: The file is missing, damaged or of another kind.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.content: object = None
        self._archive: zipfile.ZipFile | None = None
        self._folder = ""
        # Several tensors may be parts of one storage.
        self._latest: tuple[str, Tensor] | None = None

    def __enter__(self) -> "TorchFile":
        """Read everything but the tensors."""
        if not self.path.is_file():
            raise CheckpointError(f"no checkpoint at {self.path}")
        try:
            if not zipfile.is_zipfile(self.path):
                self.content = self._load_legacy()
                return self
            self._archive = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise self._damaged(error) from error
        try:
            self.content = self._unpickle(self._archive)
        except BaseException:
            self._archive.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._latest = None
        if self._archive is not None:
            self._archive.close()

    def read(self, tensor: "StoredTensor | Tensor") -> Tensor:
        """Read the values of a tensor of the content, onto the CPU.

        Raises:
            CheckpointError: The file is damaged there.
        """
        if isinstance(tensor, Tensor):
            return tensor
        values = self._read_storage(tensor.storage)
        if 0 in tensor.shape:
            return values.new_empty(tensor.shape)
        part = values.as_strided(tensor.shape, tensor.stride, tensor.offset)
        # A view would keep all of a large storage alive.
        whole = part.is_contiguous() and part.numel() == len(values)
        return part if whole else part.clone(memory_format=torch.contiguous_format)

    def _read_storage(self, storage: _Storage) -> Tensor:
        if self._latest is not None and self._latest[0] == storage.key:
            return self._latest[1].view(storage.dtype)
        self._latest = None
        assert self._archive is not None
        name = f"{self._folder}data/{storage.key}"
        values = torch.empty(storage.length * storage.dtype.itemsize, dtype=torch.uint8)
        try:
            with cast("zipfile.ZipExtFile", self._archive.open(name)) as file:
                _read_into(file, values.numpy().data)
        except _ZIP_ERRORS as error:
            raise self._damaged(error) from error
        self._latest = storage.key, values
        return values.view(storage.dtype)

    def _unpickle(self, archive: zipfile.ZipFile) -> object:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        folders = (name.partition("/") for name in sizes)
        self._folder = next((f"{folder}/" for folder, _, name in folders if name == _PICKLE), "")
        if not self._folder:
            raise self._damaged("it is a ZIP archive, but none of PyTorch's")
        # PyTorch compresses nothing; what is compressed, or there twice, could claim any size.
        if sum(info.file_size for info in archive.infolist()) > self.path.stat().st_size:
            raise self._damaged("its parts claim to be larger than it is")
        for info in archive.infolist():
            # PyTorch has an option to write no checksums.
            if info.CRC == 0:
                del info.CRC
        try:
            if f"{self._folder}byteorder" in sizes:
                order = archive.read(f"{self._folder}byteorder").decode(errors="replace")
                if order != sys.byteorder:
                    raise self._damaged(
                        f"it is {order}-endian, this machine {sys.byteorder}-endian"
                    )
            data = archive.read(self._folder + _PICKLE)
        except _ZIP_ERRORS as error:
            raise self._damaged(error) from error
        prefix = f"{self._folder}data/"
        keys = {name.removeprefix(prefix): size for name, size in sizes.items()}
        try:
            check_pickle(data)
            return _Unpickler(data, sizes=keys).load()
        # A damaged pickle can raise any exception.
        except Exception as error:
            raise self._damaged(error) from error

    def _load_legacy(self) -> object:
        try:
            # From a name, PyTorch might infer another format.
            with self.path.open("rb") as file:
                head = file.read(2)
                if head == b"PK":
                    raise self._damaged("it is cut off: the end of its archive is missing")
                if head[:1] != b"\x80":
                    raise self._damaged("it is no file of PyTorch's")
                file.seek(0)
                return torch.load(file, map_location="cpu", weights_only=True)
        except CheckpointError:
            raise
        except pickle.UnpicklingError as error:
            found = _UNSUPPORTED.search(str(error))
            what = f"{found[1]} beside its weights" if found else "more than weights"
            raise CheckpointError(
                f"{self.path} is of PyTorch before 1.6 and holds {what}, which would have to be "
                "run to be read. If you trust it, save its weights anew where it was made: "
                "torch.save(torch.load(FILE, map_location='cpu')['state_dict'], NEW)"
            ) from error
        except _LEGACY_ERRORS as error:
            raise self._damaged(error) from error

    def _damaged(self, error: BaseException | str) -> CheckpointError:
        reason = " ".join(_COLOURS.sub("", str(error)).split()) or type(error).__name__
        return CheckpointError(f"cannot read checkpoint {self.path}: {reason}")


def _whole_numbers(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple | list):
        raise pickle.UnpicklingError(f"a tensor's shape must be a tuple, got {values!r:.100}")
    for value in values:
        if type(value) is not int or not 0 <= value < 2**48:
            raise pickle.UnpicklingError(f"a tensor's shape must be of counts, got {values!r:.100}")
    if math.prod(values) >= 2**48:
        raise pickle.UnpicklingError(f"a tensor cannot be as large as {values!r:.100}")
    return tuple(values)


def _read_into(file: zipfile.ZipExtFile, target: memoryview) -> None:
    """Fill memory from a member of an archive, and verify its checksum."""
    done = 0
    while done < len(target):
        count = file.readinto(target[done : done + 2**24])
        if not count:
            raise EOFError("a tensor is cut off")
        done += count
    file.read(1)
