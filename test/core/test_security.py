"""Hostile files run no code, hide no size and are refused by name."""

import contextlib
import hashlib
import json
import os
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from rosbags.rosbag2 import StoragePlugin, Writer
from safetensors.torch import save_file

from depthformer_core import PRESETS
from depthformer_core.bags import BagError, BagReader
from depthformer_core.bags.compressed_messages import compressed_to_rgb
from depthformer_core.bags.conversion import ConversionError
from depthformer_core.checkpoint import CheckpointError, load_checkpoint
from depthformer_core.data.images import ImageError, read_rgb
from depthformer_core.errors import warn_once
from depthformer_core.ops.nvrtc import NvrtcError, compile_cached, nvrtc_version


def write_bag(path: Path, kind: str, definition: str) -> None:
    """A bag with one message of a type of its own."""
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(
            "/hostile", kind, msgdef=definition, rihs01="RIHS01_" + "0" * 64
        )
        writer.write(connection, 1, struct.pack("<4BI", 0, 1, 0, 0, 5))


# With ROS's own parser of definitions, each of these would stay text.
CODE = "__import__('pathlib').Path('was_run').touch()"


@pytest.mark.parametrize(
    ("kind", "definition"),
    [
        pytest.param("evil_msgs/msg/Evil", f"uint32 a\nstring B='+{CODE}+'\n", id="constant"),
        pytest.param("evil_msgs/msg/Evil", f'uint32 a\nstring B="""+{CODE}+"""\n', id="quotes"),
        pytest.param("evil_msgs/msg/Evil", f"uint32 a\nstring B=\\'+{CODE}#\n", id="backslash"),
        pytest.param("evil_msgs/msg/Evil", f"uint32 a={CODE}\n", id="number"),
        pytest.param("evil_msgs/msg/Evil", f"uint32 a {CODE}\n", id="default"),
        pytest.param("evil_msgs/msg/Evil", f"uint32[{CODE}] a\n", id="size"),
        pytest.param("evil_msgs/msg/Evil", f"uint32 a;{CODE}\n", id="name"),
        pytest.param("evil_msgs/msg/Evil", f"{CODE} a\n", id="type"),
        pytest.param(f'evil_msgs/msg/E:\n  """"""\n  {CODE}\nclass F', "uint32 a\n", id="class"),
        pytest.param("evil_msgs/msg/Evil", f"uint32 a # \n'''\n{CODE}\n'''\n", id="comment"),
    ],
)
def test_a_bags_own_types_run_nothing(
    kind: str, definition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bag(tmp_path / "bag", kind, definition)
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    # Some are literal: a constant is a text.
    with contextlib.suppress(BagError), BagReader(tmp_path / "bag") as bag:
        for message in bag.messages():
            message.message()
    assert set(tmp_path.iterdir()) == before


def test_the_code_above_would_have_been_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    eval(CODE)
    assert (tmp_path / "was_run").exists()


def comment(length: int, content: bytes = b"") -> bytes:
    """A JPEG segment that decoders pass over, `length` bytes with its marker."""
    assert 4 + len(content) <= length < 2**16
    return b"\xff\xfe" + struct.pack(">H", length - 2) + content.ljust(length - 4, b"\0")


@pytest.fixture
def picture() -> bytes:
    encoded, data = cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8))
    assert encoded
    return bytes(data)


@pytest.fixture
def huge(picture: bytes) -> bytes:
    """The same with 600 million pixels in its header."""
    place = picture.index(b"\xff\xc0") + 5
    return picture[:place] + struct.pack(">HH", 20000, 30000) + picture[place + 4 :]


@pytest.mark.parametrize(
    "marker",
    [0x00, 0x01, *range(0xD0, 0xDA)],
    ids=lambda marker: f"ff{marker:02x}",
)
def test_no_jpeg_hides_its_size(marker: int, picture: bytes, huge: bytes) -> None:
    # Decoders pass over a marker that has no length. Who reads one behind it is led past the
    # header that counts, to one of 16x16 in a comment.
    start = b"\xff\xd8" + bytes([0xFF, marker])
    landing = len(start) + 0xFFFE
    small = picture[picture.index(b"\xff\xc0") :][:19]
    filler = comment(60000)
    offset = landing - len(start) - len(filler)
    decoy = filler + comment(offset + 100, b"\0" * (offset - 4) + small)
    data = start + decoy + huge[2:]
    assert data[landing:].startswith(small)
    message = SimpleNamespace(data=data, format="jpeg")
    with pytest.raises(ConversionError):
        compressed_to_rgb(message)


def test_a_jpeg_with_comments_is_read(picture: bytes) -> None:
    data = b"\xff\xd8" + comment(60000) + b"\xff" + comment(100) + picture[2:]
    assert compressed_to_rgb(SimpleNamespace(data=data, format="jpeg")).shape == (16, 16, 3)


def test_a_picture_of_too_many_pixels_is_named(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b""), (b"IEND", b""))
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    with pytest.raises(ImageError, match=r"cannot read image .*bomb\.png"):
        read_rgb(path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("depths", [1, 1, 10**6, 1], id="a million blocks"),
        pytest.param("embed_dim", 2**40, id="wide"),
        pytest.param("stem_dim", 2**62, id="wide stem"),
        pytest.param("hahi_points", 2**62, id="many points"),
        pytest.param("window_size", 2**20, id="large windows"),
    ],
)
def test_a_checkpoint_cannot_claim_to_be_huge(field: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    config = {**PRESETS["debug"].to_dict(), field: value}
    metadata = {"depthformer_config": json.dumps(config)}
    save_file({"head.weight": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"huge\.safetensors"):
        load_checkpoint(path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    try:
        nvrtc_version()
    except NvrtcError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    warn_once.cache_clear()
    return tmp_path / "cache" / "depthformer"


def compiled() -> bytes:
    return compile_cached('extern "C" __global__ void f() {}', [], architecture="sm_90")


def test_only_the_user_may_write_the_cache_of_kernels(cache: Path) -> None:
    compiled()
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@pytest.fixture(params=["all may write", "the group may write", "another user"])
def foreign(request: pytest.FixtureRequest, cache: Path) -> Callable[[], None]:
    """Makes the cache one that others put files into."""
    if request.param == "all may write":
        return lambda: cache.chmod(0o702)
    if request.param == "the group may write":
        return lambda: cache.chmod(0o720)
    if os.geteuid() != 0:
        pytest.skip("only root can change the owner of a folder")
    return lambda: os.chown(cache, 12345, 12345)


def test_code_from_a_folder_of_others_is_not_run(cache: Path, foreign: Callable[[], None]) -> None:
    honest = compiled()
    (entry,) = cache.iterdir()
    forged = b"forged"
    entry.write_bytes(hashlib.sha256(forged).digest() + forged)
    foreign()
    with pytest.warns(RuntimeWarning, match="belongs to another user, or others may write to it"):
        assert compiled() == honest
