"""MCAP files of other recorders and tools, and damaged ones."""

import re

import pytest
from bag_files import (
    DEFINITION,
    IMAGE,
    KIND,
    START,
    cdr,
    numbers,
    picture,
    write_mcap,
)
from mcap.writer import CompressionType, IndexType
from rosbags.typesys import Stores, get_typestore

from depthformer_core.bags import BagReader
from depthformer_core.bags.mcap_file import MAGIC

BARE = {
    "index_types": IndexType.NONE,
    "repeat_channels": False,
    "repeat_schemas": False,
    "use_statistics": False,
    "use_summary_offsets": False,
}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="plain"),
        pytest.param({"profile": ""}, id="no profile"),
        pytest.param({"profile": "px4"}, id="another profile"),
        pytest.param({"order": [3, 0, 5, 1, 4, 2]}, id="out of order"),
        pytest.param({"order": [3, 0, 5, 1, 4, 2], "use_chunking": False}, id="unchunked order"),
        pytest.param({"order": [3, 0, 5, 1, 4, 2], "chunk_size": 1}, id="overlapping chunks"),
        pytest.param({"use_chunking": False}, id="unchunked"),
        pytest.param({"use_chunking": False, **BARE}, id="unchunked, no summary"),
        pytest.param(BARE, id="no summary"),
        pytest.param({"use_statistics": False}, id="no statistics"),
        pytest.param({"repeat_channels": False}, id="channels not repeated"),
        pytest.param({"repeat_schemas": False}, id="schemas not repeated"),
        pytest.param({"index_types": IndexType.CHUNK}, id="no message indexes"),
        pytest.param({"index_types": IndexType.MESSAGE}, id="no chunk indexes"),
        pytest.param({"compression": CompressionType.NONE}, id="uncompressed"),
        pytest.param({"compression": CompressionType.LZ4}, id="lz4"),
        pytest.param({"compression": CompressionType.ZSTD, "chunk_size": 1}, id="zstd, small"),
        pytest.param({"enable_crcs": False}, id="no checksums"),
        pytest.param({"schema": (KIND, "ros2idl", b"no definition")}, id="bad definition"),
        pytest.param({"schema": (KIND, "omgidl", b"no definition")}, id="other IDL"),
        pytest.param({"schema": (KIND, "", b"")}, id="empty schema"),
        pytest.param({"schema": ("sensor_msgs/Image", "ros2msg", DEFINITION)}, id="short type"),
    ],
)
def test_mcap_of_other_tools(tmp_path, options):
    found, notes = numbers(write_mcap(tmp_path / "x.mcap", **options))
    assert found == list(range(6))
    assert notes == []


@pytest.mark.parametrize(
    "other",
    [
        ("/log", "json", "jsonschema"),
        ("/pose", "protobuf", "protobuf"),
        ("/map", "flatbuffer", "flatbuffer"),
        ("/raw", "", ""),
    ],
    ids=lambda other: other[1] or "none",
)
def test_mcap_channels_that_are_not_ros(tmp_path, other):
    found, notes = numbers(write_mcap(tmp_path / "x.mcap", others=[other]))
    assert found == list(range(6))
    (note,) = notes
    assert f"{other[0]} ({other[1] or 'no encoding'})" in note


def test_mcap_of_a_ros1_bag(tmp_path):
    """As `mcap convert` makes them."""
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types

    def ros1(index):
        time = types["builtin_interfaces/msg/Time"](*divmod(START + index, 10**9))
        head = types["std_msgs/msg/Header"](7, time, "eye")
        pixels = picture(index).reshape(-1)
        image = types[KIND](head, 24, 32, "rgb8", 0, 96, pixels)
        return bytes(store.serialize_ros1(image, KIND))

    definition = store.generate_msgdef(KIND, ros_version=1)[0].encode()
    path = write_mcap(
        tmp_path / "x.mcap",
        profile="ros1",
        encoding="ros1",
        schema=("sensor_msgs/Image", "ros1msg", definition),
        data=ros1,
    )
    assert numbers(path) == (list(range(6)), [])


def test_mcap_without_a_schema_has_no_type(tmp_path):
    path = write_mcap(tmp_path / "x.mcap", schema=None)
    with BagReader(path) as reader:
        assert reader.topics[IMAGE].type == ""


def test_mcap_chunk_of_unknown_compression(tmp_path):
    path = write_mcap(tmp_path / "x.mcap", compression=CompressionType.LZ4)
    path.write_bytes(path.read_bytes().replace(b"\x03\x00\x00\x00lz4", b"\x03\x00\x00\x00lzx"))
    with BagReader(path) as reader:
        assert list(reader.messages()) == []
        assert "1 of 1 chunks of x.mcap are damaged and skipped." in reader.notes


@pytest.mark.parametrize("compression", list(CompressionType), ids=lambda item: item.name.lower())
def test_damaged_chunk_is_skipped(tmp_path, compression):
    path = write_mcap(tmp_path / "x.mcap", compression=compression, chunk_size=1)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x55
    path.write_bytes(data)
    found, notes = numbers_of_damaged(path)
    assert len(found) == 5
    assert notes == ["1 of 6 chunks of x.mcap are damaged and skipped."]


def numbers_of_damaged(path):
    with BagReader(path) as reader:
        found = []
        for item in reader.messages():
            assert item.data == cdr(item.stamp - START)
            found.append(item.stamp - START)
        return found, reader.notes


def test_message_record_without_its_header(tmp_path):
    path = tmp_path / "x.mcap"
    path.write_bytes(MAGIC + b"\x05\x03\0\0\0\0\0\0\0abc")
    assert numbers(path)[0] == []


def test_chunk_that_says_it_is_huge(tmp_path):
    """Nothing is allocated for a size that a damaged header names."""
    path = write_mcap(tmp_path / "x.mcap", compression=CompressionType.NONE, enable_crcs=False)
    data = bytearray(path.read_bytes())
    size = re.search(rb"\x06.{8}.{16}(.{8})", data, re.DOTALL)
    data[size.start(1) : size.end(1)] = (2**60).to_bytes(8, "little")
    path.write_bytes(data)
    found, notes = numbers_of_damaged(path)
    assert found == []
    assert "damaged" in notes[0]


# Recorders that were killed.


@pytest.mark.parametrize("compression", list(CompressionType), ids=lambda item: item.name.lower())
@pytest.mark.parametrize("chunking", [True, False], ids=["chunked", "unchunked"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
def test_killed_mcap_recorder(tmp_path, compression, chunking, share):
    path = tmp_path / "x_0.mcap"
    write_mcap(path, order=range(40), compression=compression, use_chunking=chunking)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    found, notes = numbers(tmp_path)
    assert found == list(range(len(found)))
    # Compressed data come in blocks.
    assert len(found) < 40
    assert len(found) >= 40 * share - 4 or (chunking and compression is not CompressionType.NONE)
    assert notes == [
        f"x_0.mcap ends early, as if its recorder was killed: the {len(found)} messages "
        "before that are read."
    ]


def test_mcap_with_zeros_behind_it(tmp_path):
    """A disk that was switched off has blocks that were never written."""
    path = write_mcap(tmp_path / "x.mcap", finish=False, use_chunking=False)
    path.write_bytes(path.read_bytes() + bytes(5000))
    found, notes = numbers(path)
    assert found == list(range(6))
    assert "ends early" in notes[0]
