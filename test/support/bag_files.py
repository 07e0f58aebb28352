"""Bags of other recorders and tools."""

import numpy as np
from mcap.writer import Writer

from depthformer_core.bags import TYPESTORE, BagReader
from depthformer_core.bags.messages import image_message

START = 1_700_000_000_000_000_000


IMAGE = "/camera/image_raw"


KIND = "sensor_msgs/msg/Image"


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def message(index):
    return image_message(picture(index), stamp=START + index, frame_id="eye")


def cdr(index):
    return bytes(TYPESTORE.serialize_cdr(message(index), KIND))


def numbers(path):
    """Return the indices of the images of `write` in a bag, after checks, and the notes."""
    with BagReader(path) as reader:
        wanted = [IMAGE] if IMAGE in reader.topics else []
        found = []
        for item in reader.messages(wanted):
            index = item.stamp - START
            assert item.data == cdr(index)
            np.testing.assert_array_equal(
                item.message().data.reshape(24, 32, 3), picture(index), strict=True
            )
            found.append(index)
        if wanted:
            assert reader.topics[IMAGE].count == len(found)
        return found, reader.notes


# MCAP files of other tools.


DEFINITION = TYPESTORE.generate_msgdef(KIND, ros_version=2)[0].encode()


def write_mcap(
    path,
    *,
    order=range(6),
    profile="ros2",
    topic=IMAGE,
    schema=(KIND, "ros2msg", DEFINITION),
    encoding="cdr",
    others=(),
    finish=True,
    data=cdr,
    **options,
):
    """MCAP file by the format's own library; others are (topic, encoding, schema's encoding)."""
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start(profile=profile, library="other")
        for name, kind, schema_encoding in others:
            number = writer.register_schema("foxglove.Log", schema_encoding, b"{}")
            channel = writer.register_channel(name, kind, number)
            writer.add_message(channel, START, b"{}", START)
        number = 0 if schema is None else writer.register_schema(*schema)
        channel = writer.register_channel(topic, encoding, number)
        for index in order:
            writer.add_message(channel, START + index, data(index), START + index)
        if finish:
            writer.finish()
    return path
