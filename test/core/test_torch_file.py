"""PyTorch's files are read without running, importing or allocating what they request."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from depthformer_core.checkpoint import CheckpointError
from depthformer_core.checkpoint import torch_file as module
from depthformer_core.checkpoint.file_kind import is_torch_file
from depthformer_core.checkpoint.torch_file import StoredTensor, TorchFile, Unknown


def write(path: Path, data: bytes, **storages: bytes) -> Path:
    """A file like PyTorch's around a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", "little")
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key.removeprefix('s')}", content)
    return path


class _Name:
    """Is pickled as the name of something, whether it exists or not."""

    def __init__(self, module: str, name: str) -> None:
        self.value = module, name


class _Pickler(pickle._Pickler):
    """Pickles tensors as PyTorch does, from descriptions that may be wrong."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, _Storage) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        if isinstance(obj, _Name):
            module_name, name = obj.value
            self.write(pickle.GLOBAL + f"{module_name}\n{name}\n".encode())
            return None
        return super().save(obj, save_persistent_id)


class _Storage:
    def __init__(self, length: Any, *, key: Any = "0", kind: str = "FloatStorage") -> None:
        self.pid = ("storage", _Name("torch", kind), key, "cpu", length)


def pickled(storage: Any, *arguments: Any) -> bytes:
    """A dictionary with one tensor."""
    file = io.BytesIO()
    pickler = _Pickler(file, 2)
    pickler.write(pickle.PROTO + b"\x02}")
    pickler.save("a")
    pickler.save(_Name("torch._utils", "_rebuild_tensor_v2"))
    pickler.save((storage, *arguments, False, None))
    pickler.write(b"Rs.")
    return file.getvalue()


def test_tensor_made_by_hand_is_read(tmp_path: Path) -> None:
    data = pickled(_Storage(6), 1, (2, 2), (1, 2))
    path = write(tmp_path / "a.pth", data, s0=struct.pack("<6f", *range(6)))
    with TorchFile(path) as file:
        stored = file.content["a"]
        assert isinstance(stored, StoredTensor)
        assert stored.shape == (2, 2)
        assert stored.dtype == torch.float32
        assert file.read(stored).tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("dtype", [*module._STORAGES.values()])
def test_every_type_is_read(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {
        "whole": torch.arange(6).view(2, 3).to(dtype),
        "part": torch.arange(60).view(4, 15).to(dtype)[1:3, ::2],
        "scalar": torch.tensor(1).to(dtype),
        "empty": torch.zeros(0, 3, dtype=dtype),
        "channels last": torch.arange(24)
        .view(1, 2, 3, 4)
        .to(dtype)
        .contiguous(memory_format=torch.channels_last),
    }
    torch.save(tensors, tmp_path / "a.pt")
    with TorchFile(tmp_path / "a.pt") as file:
        for name, tensor in tensors.items():
            read = file.read(file.content[name])
            assert read.dtype == dtype
            assert torch.equal(read, tensor), name


def bomb_of_tuples(depth: int) -> bytes:
    # The hash of a tuple calls those of its items, on the stack of the process.
    return b"\x80\x02})" + b"\x85" * depth + b"Ns."


PICKLES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "pickle exhausted|Ran out|EOF"),
    "cut off": (pickled(_Storage(6), 0, (6,), (1,))[:-2], "exhausted|EOF|end"),
    "no pickle": (b"\x80\x02hello", "cannot read checkpoint"),
    "takes too much": (b"\x80\x02s.", "takes more than it put"),
    "takes a mark too much": (b"\x80\x02t.", "cannot read checkpoint"),
    "nested tuples": (bomb_of_tuples(1_000_000), "nests deeper than 100"),
    "nested lists": (b"\x80\x02" + b"]" * 1000 + b"a" * 999 + b".", "nests deeper than 100"),
    "memo": (b"\x80\x02]r\xff\xff\xff\x7f.", "counts to 2147483647"),
    "byte array": (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc.", "bytearray8"),
    "long string": (b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"abc.", "unicodestring8"),
    "operations": (b"\x80\x02" + b"]0" * 1_500_000 + b"N.", "more than 2000000 operations"),
    "size": (b"\x80\x04\x8e" + struct.pack("<Q", 2**25) + bytes(2**25) + b".", "larger than"),
    "unknown persistent object": (b"\x80\x02K\x01Q.", "unknown persistent object"),
    "outside": (pickled(_Storage(6), 3, (2, 2), (2, 1)), "lies outside its storage of 6 values"),
    "negative": (pickled(_Storage(6), -1, (2,), (1,)), "must be of counts"),
    "negative stride": (pickled(_Storage(6), 5, (2,), (-1,)), "must be of counts"),
    "floating": (pickled(_Storage(6), 0, (2.0,), (1,)), "must be of counts"),
    "huge": (pickled(_Storage(6), 0, (2**40, 2**40), (0, 0)), "cannot be as large"),
    "huge storage": (pickled(_Storage(2**60), 0, (6,), (1,)), "must be of counts"),
    "wrong storage": (pickled(_Storage(2**40), 0, (6,), (1,)), "data/0 has 24 bytes"),
    "missing storage": (pickled(_Storage(6, key="7"), 0, (6,), (1,)), "data/7 is missing"),
    "strange storage": (pickled(_Storage(6, kind="QInt8Storage"), 0, (6,), (1,)), "no weights"),
    "no storage": (pickled(3, 0, (6,), (1,)), "a tensor has no storage"),
    "stride of other length": (pickled(_Storage(6), 0, (6,), (1, 1)), "shape .* and stride"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", PICKLES)
def test_bad_pickle_is_one_clear_error(case: str, tmp_path: Path) -> None:
    data, message = PICKLES[case]
    path = write(tmp_path / "a.pth", data, s0=bytes(24))
    with pytest.raises(CheckpointError, match=message) as caught, TorchFile(path):
        pass
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_pickle_calls_is_neither_imported_nor_called(tmp_path: Path) -> None:
    calls = {
        "global": b"cos\nsystem\n(X\x04\x00\x00\x00exittR.",
        "stack global": b"\x8c\x02os\x8c\x06system\x93\x8c\x04exit\x85R.",
        "instance": b"(X\x01\x00\x00\x00aios\nsystem\n.",
        "object": b"(cos\nsystem\nX\x01\x00\x00\x00ao.",
        "new object": b"cantigravity\nFly\n)\x81.",
        "new object with keywords": b"cantigravity\nFly\n)}\x92.",
        "result of a call": b"c__builtin__\ngetattr\n(cos\nsystem\nX\x06\x00\x00\x00systemtR)R.",
    }
    for name, body in calls.items():
        path = write(tmp_path / "a.pth", b"\x80\x04" + body)
        with TorchFile(path) as file:
            assert type(file.content) is Unknown, name


@pytest.mark.parametrize(
    "target",
    [b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"cany\nclass\n"],
    ids=["function", "storage type", "class"],
)
@pytest.mark.parametrize(
    "state",
    [b"}X\x05\x00\x00\x00dtypeNs", b"N}X\x05\x00\x00\x00dtypeNs\x86"],
    ids=["attributes", "slots"],
)
def test_no_pickle_changes_the_reader(target: bytes, state: bytes, tmp_path: Path) -> None:
    before = {key: dict(vars(value)) for key, value in module._KNOWN.items()}
    unknown = set(vars(Unknown))
    path = write(tmp_path / "a.pth", b"\x80\x02" + target + state + b"b.")
    with TorchFile(path):
        pass
    assert {key: dict(vars(value)) for key, value in module._KNOWN.items()} == before
    assert set(vars(Unknown)) == unknown


def test_what_is_like_a_dictionary_keeps_its_items(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.pth", b"\x80\x02cmmcv.utils\nConfigDict\n)\x81X\x01\x00\x00\x00aK\x03s."
    )
    with TorchFile(path) as file:
        assert file.content["a"] == 3


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def test_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.arange(1000.0)}, path)
    whole = path.read_bytes()
    value = struct.pack("<f", 567.0)
    assert whole.count(value) == 1
    path.write_bytes(whole.replace(value, struct.pack("<f", 568.0)))
    with TorchFile(path) as file, pytest.raises(CheckpointError, match="Bad CRC-32"):
        file.read(file.content["a"])
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        message = "it is cut off" if size > 1 else "it is no file of PyTorch's"
        with pytest.raises(CheckpointError, match=message), TorchFile(path):
            pass


def test_files_without_checksums_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled(_Storage(2), 0, (2,), (1,)))
        archive.writestr("a/data/0", struct.pack("<2f", 3, 4))
    data = bytearray(path.read_bytes())
    # Where a member's header and the directory at the end keep it.
    for mark, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        start = data.find(mark)
        while start >= 0:
            data[start + place : start + place + 4] = bytes(4)
            start = data.find(mark, start + 1)
    path.write_bytes(data)
    with TorchFile(path) as file:
        assert file.read(file.content["a"]).tolist() == [3, 4]


def test_other_archives_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    with (
        pytest.raises(CheckpointError, match="a ZIP archive, but none of PyTorch's"),
        TorchFile(path),
    ):
        pass
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(2**24))
    with pytest.raises(CheckpointError, match="claim to be larger"), TorchFile(path):
        pass
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"N.")
        archive.writestr("a/byteorder", "big")
    with pytest.raises(CheckpointError, match="it is big-endian"), TorchFile(path):
        pass


def test_files_are_distinguished(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "zip")
    torch.save({}, tmp_path / "old", _use_new_zipfile_serialization=False)
    # Its first byte, the length of the header, is that of a pickle.
    header = b'{"__metadata__":{}}'.ljust(0x80)
    (tmp_path / "safe").write_bytes(struct.pack("<Q", len(header)) + header)
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text").write_text("hello")
    found = {path.name: is_torch_file(path) for path in sorted(tmp_path.iterdir())}
    assert found == {"zip": True, "old": True, "safe": False, "text.pth": True, "text": False}
