"""Single MCAP files, read by the `mcap` package."""

from pathlib import Path

import pytest
from mcap.reader import make_reader

from depthformer_core.bags import TYPESTORE, BagError
from depthformer_core.bags.mcap_writer import McapWriter
from depthformer_core.bags.messages import number_message, text_message


def test_messages_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "out.mcap"
    with McapWriter(path) as writer:
        for stamp in (5, 3, 4):
            writer.write("/a", number_message(stamp / 2), stamp=stamp)
        assert not path.exists()
    with path.open("rb") as file:
        messages = [item for _, _, item in make_reader(file).iter_messages()]
    assert [item.log_time for item in messages] == [3, 4, 5]
    values = [TYPESTORE.deserialize_cdr(item.data, "std_msgs/msg/Float64") for item in messages]
    assert [value.data for value in values] == [1.5, 2.0, 2.5]


def test_nothing_written_is_a_file_too(tmp_path: Path) -> None:
    with McapWriter(tmp_path / "out.mcap"):
        pass
    with (tmp_path / "out.mcap").open("rb") as file:
        assert list(make_reader(file).iter_messages()) == []


def test_what_a_file_does_not_take(tmp_path: Path) -> None:
    writer = McapWriter(tmp_path / "out.mcap")
    with pytest.raises(BagError, match="not open"):
        writer.write("/a", number_message(1), stamp=0)
    with writer:
        writer.write("/a", number_message(1), stamp=0)
        with pytest.raises(BagError, match="topic /a holds std_msgs/msg/Float64, got std_msgs"):
            writer.write("/a", text_message("b"), stamp=0)
        with pytest.raises(BagError, match="it is no message"):
            writer.write("/a", 1.0, stamp=0)
        with pytest.raises(BagError, match="nanoseconds since the epoch, got -1"):
            writer.write("/a", number_message(1), stamp=-1)
