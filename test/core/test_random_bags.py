"""Bags at random; docs/replay.md describes runs with thousands."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from depthformer_core.bags import TYPESTORE, BagError
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.messages import image_message
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.frame_plan import FrameOptions

BAGS = int(os.environ.get("RANDOM_BAGS", "300"))
EACH = settings(
    max_examples=BAGS, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
pytestmark = pytest.mark.timeout(300 + BAGS)

START = 1_700_000_000_000_000_000
IMAGE = "/camera/image_raw"
KIND = "sensor_msgs/msg/Image"
DEFINITION = TYPESTORE.generate_msgdef(KIND, ros_version=2)[0].encode()
TIME = QosTime(0, 0)

qualities = st.lists(
    st.builds(
        Qos,
        st.sampled_from(QosHistory),
        st.integers(0, 10),
        st.sampled_from(QosReliability),
        st.sampled_from(QosDurability),
        st.just(TIME),
        st.just(TIME),
        st.sampled_from(QosLiveliness),
        st.just(TIME),
        avoid_ros_namespace_conventions=st.booleans(),
    ),
    max_size=2,
)


def picture(index):
    return np.random.default_rng(index).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def cdr(index):
    message = image_message(picture(index), stamp=START + index, frame_id="eye")
    return bytes(TYPESTORE.serialize_cdr(message, KIND))


@st.composite
def recorders(draw):
    """Ways in which the ROS 2 recorder may write a bag."""
    storage = draw(st.sampled_from(StoragePlugin))
    modes = [None, CompressionMode.FILE, CompressionMode.MESSAGE]
    if storage is StoragePlugin.MCAP:
        modes.append(CompressionMode.STORAGE)
    mode, offered = draw(st.sampled_from(modes)), draw(qualities)
    version = draw(st.sampled_from([8, 9]))

    def write(path, first, count, *, finish):  # noqa: ARG001  # closed in any case
        writer = Writer(path, version=version, storage_plugin=storage)
        if mode is not None:
            writer.set_compression(mode, CompressionFormat.ZSTD)
        with writer:
            connection = writer.add_connection(
                IMAGE, KIND, typestore=TYPESTORE, offered_qos_profiles=offered
            )
            for index in range(first, first + count):
                writer.write(connection, START + index, cdr(index))
        return next(item for item in path.iterdir() if item.name != "metadata.yaml")

    return write


@st.composite
def tools(draw):
    """Ways in which other tools may write a file."""
    options = {
        "chunk_size": draw(st.sampled_from([1, 500, 2**20])),
        "compression": draw(st.sampled_from(CompressionType)),
        "index_types": draw(st.sampled_from([IndexType.ALL, IndexType.NONE, IndexType.CHUNK])),
        **{
            name: draw(st.booleans())
            for name in (
                "repeat_channels",
                "repeat_schemas",
                "use_chunking",
                "use_statistics",
                "use_summary_offsets",
                "enable_crcs",
            )
        },
    }
    profile = draw(st.sampled_from(["", "ros2", "other"]))

    def write(path, first, count, *, finish):
        path.mkdir()
        file = path / "file.mcap"
        with file.open("wb") as target:
            writer = McapWriter(target, **options)
            writer.start(profile=profile)
            schema = writer.register_schema(KIND, "ros2msg", DEFINITION)
            channel = writer.register_channel(IMAGE, "cdr", schema)
            for index in range(first, first + count):
                writer.add_message(channel, START + index, cdr(index), START + index)
            if finish:
                writer.finish()
        return file

    return write


@st.composite
def bags(draw):
    """A folder of one bag: how to write it, what is cut off, and what becomes of its metadata."""
    return {
        "write": draw(recorders() | tools()),
        "parts": draw(st.lists(st.integers(0, 5), min_size=1, max_size=3)),
        "metadata": draw(st.booleans()),
        "pack": draw(st.booleans()),
        "finish": draw(st.sampled_from([True, True, False])),
        "cut": draw(st.none() | st.floats(0, 1)),
        "flip": draw(st.none() | st.floats(0, 0.999)),
    }


def make(folder, plan):
    """Write a bag as planned; return its folder and its number of images."""
    bag = folder / "run"
    bag.mkdir()
    names, first = [], 0
    for number, count in enumerate(plan["parts"]):
        file = plan["write"](
            folder / f"part{number}", first, count, finish=plan["finish"] or count == 0
        )
        name = "".join((f"run_{number}", *file.suffixes))
        if plan["pack"] and file.suffix != ".zstd":
            name += ".zstd"
            file.write_bytes(zstandard.compress(file.read_bytes()))
        file.rename(bag / name)
        names.append(name)
        first += count
    last = bag / names[-1]
    data = bytearray(last.read_bytes())
    if plan["cut"] is not None:
        del data[int(plan["cut"] * len(data)) :]
    if plan["flip"] is not None and data:
        data[int(plan["flip"] * len(data))] ^= 0x11
    last.write_bytes(data)
    if plan["metadata"]:
        listed = "".join(f"    - {name}\n" for name in names)
        (bag / "metadata.yaml").write_text(
            f"rosbag2_bagfile_information:\n  relative_file_paths:\n{listed}"
        )
    return bag, first


@pytest.mark.slow
@EACH
@given(bags())
def test_right_images_or_one_clear_line(plan):
    with tempfile.TemporaryDirectory() as folder:
        bag, count = make(Path(folder), plan)
        whole = plan["cut"] is None and plan["flip"] is None and plan["finish"]
        frames, read, refusal = None, [], ""
        try:
            frames = BagFrames(bag, FrameOptions(truth="none"))
            read = list(frames)
        except (BagError, ReplayError) as error:
            refusal = str(error)
    if frames is None:
        assert str(bag) in refusal
        assert "\n" not in refusal
        assert not whole or not count
        return
    # A byte that was changed shows where checksums are; else it may lie in a picture, or its stamp.
    if plan["flip"] is None:
        stamps = [item.stamp - START for item in read]
        assert stamps == sorted(set(stamps))
        for index, item in zip(stamps, read, strict=True):
            np.testing.assert_array_equal(item.frame.rgb, picture(index))
        if whole:
            assert stamps == list(range(count))
    if len(read) < count and plan["flip"] is None:
        assert len(frames.notes) > 2 or frames.rejected, frames.notes
