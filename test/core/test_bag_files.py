"""Files of bags: SQLite, split, packed and damaged ones."""

import os
import re
import shutil
import sqlite3
import stat

import pytest
import zstandard
from bag_files import (
    IMAGE,
    KIND,
    START,
    cdr,
    message,
    numbers,
    write_mcap,
)
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as RawWriter

from depthformer_core.bags import TYPESTORE, BagError, BagReader, BagWriter


def write(path, *, count=6, storage="sqlite3", first=0):
    with BagWriter(path, storage=storage) as writer:
        for index in range(first, first + count):
            writer.write(IMAGE, message(index), stamp=START + index)
    return path


def killed_sqlite(source, target, *, in_file, mode="WAL"):
    """Copy a database as of a process that died with messages in its log."""
    if (child := os.fork()) == 0:  # pragma: no cover
        new, old = sqlite3.connect(target), sqlite3.connect(source)
        new.execute(f"PRAGMA journal_mode={mode}")
        new.execute("PRAGMA wal_autocheckpoint=0")
        new.execute("PRAGMA cache_spill=1")
        new.execute("PRAGMA cache_size=2")
        for (sql,) in old.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"):
            new.execute(sql)
        for (table,) in old.execute("SELECT name FROM sqlite_master WHERE type='table'"):
            rows = old.execute(f"SELECT * FROM {table}").fetchall()
            later = rows[in_file:] if table == "messages" else []
            for row in rows[: len(rows) - len(later)]:
                new.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)
        new.commit()
        if mode == "WAL":
            new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        rows = old.execute("SELECT * FROM messages").fetchall()[in_file:]
        for row in rows:
            new.execute("INSERT INTO messages VALUES (?,?,?,?)", row)
        if mode == "WAL":
            new.commit()
        os._exit(9)
    os.waitpid(child, 0)
    return target


@pytest.fixture
def database(tmp_path):
    return write(tmp_path / "source") / "source.db3"


@pytest.mark.parametrize("in_file", [0, 3, 6])
def test_messages_in_the_write_ahead_log(tmp_path, database, in_file):
    folder = tmp_path / "killed"
    folder.mkdir()
    killed_sqlite(database, folder / "r_0.db3", in_file=in_file)
    assert numbers(folder) == (list(range(6)), [])
    assert numbers(folder / "r_0.db3") == (list(range(6)), [])


def test_write_ahead_log_on_a_disk_that_cannot_be_written_to(tmp_path, database):
    folder = tmp_path / "killed"
    folder.mkdir()
    killed_sqlite(database, folder / "r_0.db3", in_file=3)
    (folder / "r_0.db3-shm").unlink()
    before = sorted(item.name for item in folder.iterdir())
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        found = numbers(folder)
        after = sorted(item.name for item in folder.iterdir())
    finally:
        folder.chmod(stat.S_IRWXU)
    assert found == (list(range(6)), [])
    if os.geteuid():
        assert after == before


def test_transaction_that_was_not_finished_is_taken_back(tmp_path, database):
    folder = tmp_path / "killed"
    folder.mkdir()
    killed_sqlite(database, folder / "r_0.db3", in_file=3, mode="DELETE")
    assert (folder / "r_0.db3-journal").stat().st_size
    assert numbers(folder) == ([0, 1, 2], [])
    assert (folder / "r_0.db3-journal").exists()


def test_empty_log_is_none(database):
    database.with_name("source.db3-wal").touch()
    assert numbers(database) == (list(range(6)), [])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_truncated_sqlite(tmp_path, share):
    bag = write(tmp_path / "bag", count=40)
    file = bag / "bag.db3"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    found, notes = numbers(bag)
    assert found == list(range(len(found)))
    assert 40 * share - 12 < len(found) <= 40
    assert notes == [
        f"bag.db3 ends early or is damaged: the {len(found)} messages that are whole before that "
        "are read."
    ]


def test_sqlite_without_an_index(tmp_path):
    bag = write(tmp_path / "bag")
    with sqlite3.connect(bag / "bag.db3") as database:
        database.execute("DROP INDEX timestamp_idx")
    assert numbers(bag) == (list(range(6)), [])


def test_database_that_is_no_bag(tmp_path):
    with sqlite3.connect(tmp_path / "x.db3") as database:
        database.execute("CREATE TABLE messages(id INTEGER)")
    with pytest.raises(BagError, match="no tables topics and messages"), BagReader(tmp_path):
        pass


# Folders and their metadata.


DAMAGE = {
    "text as stamp": "UPDATE messages SET timestamp = 'x' WHERE id = 6",
    "text as id of a topic": "UPDATE messages SET topic_id = 'x' WHERE id = 6",
}


@pytest.mark.parametrize("sql", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_row_costs_its_message(tmp_path, sql):
    database = write(tmp_path / "bag") / "bag.db3"
    with sqlite3.connect(database) as connection:
        connection.execute(sql)
    connection.close()
    assert numbers(database)[0] == [0, 1, 2, 3, 4]


def damage_id(path):
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE topics RENAME TO before")
        connection.execute(
            "CREATE TABLE topics AS SELECT NULL AS id, name, type, serialization_format FROM before"
        )
    connection.close()


def damage_schema(path):
    path.write_bytes(
        path.read_bytes().replace(b"CREATE TABLE messages", b"CREATE TABLE " + 8 * b"\xe9")
    )


@pytest.mark.parametrize("damage", [damage_id, damage_schema])
def test_a_damaged_file_of_a_split_bag_is_skipped(tmp_path, damage):
    bag = split_bag(tmp_path / "run")
    damage(bag / "run_1.db3")
    found, notes = numbers(bag)
    assert found == [*range(6), *range(12, 18)]
    assert any("run_1.db3" in note for note in notes)


def split_bag(path, parts=(0, 1, 2), *, storage="sqlite3"):
    """Folder with files of six images each, as a recorder names them, and their metadata."""
    path.mkdir()
    suffix = {"sqlite3": "db3", "mcap": "mcap"}[storage]
    names = []
    for number, part in enumerate(parts):
        source = write(path.parent / f"part{part}", storage=storage, first=6 * number)
        names.append(f"run_{part}.{suffix}")
        shutil.move(source / f"part{part}.{suffix}", path / names[-1])
    listed = "".join(f"    - {name}\n" for name in names)
    (path / "metadata.yaml").write_text(
        f"rosbag2_bagfile_information:\n  relative_file_paths:\n{listed}"
    )
    return path


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("parts", [(0, 1, 2), (8, 9, 10)], ids=["one digit", "to two digits"])
@pytest.mark.parametrize("metadata", [True, False], ids=["listed", "unlisted"])
def test_files_of_a_split_bag(tmp_path, storage, parts, metadata):
    bag = split_bag(tmp_path / "run", parts, storage=storage)
    if not metadata:
        (bag / "metadata.yaml").unlink()
    assert numbers(bag) == (list(range(18)), [])


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("- just\n- a list\n", "lists no files"),
        ("", "lists no files"),
        ("rosbag2_bagfile_information: {version: 5}\n", "lists no files"),
        ("rosbag2_bagfile_information: {relative_file_paths: 5}\n", "lists no files"),
        ("rosbag2_bagfile_information: [\n", "cannot be read"),
        ("a: !!python/object:os.system\n", "cannot be read"),
        ("\x00\x01", "cannot be read"),
    ],
)
def test_metadata_that_says_nothing(tmp_path, text, note):
    bag = split_bag(tmp_path / "run")
    (bag / "metadata.yaml").write_text(text)
    found, notes = numbers(bag)
    assert found == list(range(18))
    assert len(notes) == 1
    assert note in notes[0]


def test_metadata_are_not_believed_about_the_files(tmp_path):
    """Edited for playback, blanked for another distribution, or of another storage's name."""
    bag = write(tmp_path / "bag")
    text = (bag / "metadata.yaml").read_text()
    for pattern, new in (
        (r"offered_qos_profiles:.*", "offered_qos_profiles: ''"),
        (r"storage_identifier: \w+", "storage_identifier: tape"),
        (r"message_count: \d+", "message_count: 0"),
        (r"serialization_format: cdr", "serialization_format: ''"),
        (r"version: 8", "version: 99"),
    ):
        text, changes = re.subn(pattern, new, text)
        assert changes
    (bag / "metadata.yaml").write_text(text)
    assert numbers(bag) == (list(range(6)), [])


@pytest.mark.parametrize(
    "name",
    ["run/run_0.db3", "/home/someone/run/run_0.db3", r"C:\bags\run\run_0.db3", "./run_0.db3"],
)
def test_paths_in_metadata_are_names(tmp_path, name):
    bag = split_bag(tmp_path / "run", (0,))
    (bag / "metadata.yaml").write_text(
        f"rosbag2_bagfile_information: {{relative_file_paths: ['{name}']}}\n"
    )
    assert numbers(bag) == (list(range(6)), [])


def test_metadata_with_a_byte_order_mark(tmp_path):
    bag = split_bag(tmp_path / "run")
    text = (bag / "metadata.yaml").read_bytes()
    (bag / "metadata.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    assert numbers(bag) == (list(range(18)), [])


def test_file_that_is_missing(tmp_path):
    bag = split_bag(tmp_path / "run")
    (bag / "run_1.db3").unlink()
    found, notes = numbers(bag)
    assert found == [*range(6), *range(12, 18)]
    assert notes == ["Files of the bag are missing: run_1.db3."]


def test_file_that_is_not_listed(tmp_path):
    bag = split_bag(tmp_path / "run")
    shutil.copy(bag / "run_1.db3", bag / "other_0.db3")
    found, notes = numbers(bag)
    assert found == list(range(18))
    assert notes == ["metadata.yaml does not list other_0.db3, which therefore is not read."]


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0"])
def test_last_file_of_a_killed_recorder_is_empty(tmp_path, content):
    bag = split_bag(tmp_path / "run")
    (bag / "metadata.yaml").unlink()
    (bag / "run_2.db3").write_bytes(content)
    found, notes = numbers(bag)
    assert found == list(range(12))
    (note,) = notes
    assert note.startswith("run_2.db3 is skipped: ")


def test_folder_of_several_recordings(tmp_path):
    bag = split_bag(tmp_path / "run")
    (bag / "metadata.yaml").unlink()
    shutil.copy(bag / "run_0.db3", bag / "walk_0.db3")
    with pytest.raises(BagError, match=r"2 recordings: run_0.db3, .*, walk_0.db3; name one"):
        BagReader(bag)


@pytest.mark.parametrize("name", ["._run_0.db3", ".hidden.db3", "notes.txt", "run_0.db3.bak"])
def test_other_files_in_the_folder(tmp_path, name):
    bag = split_bag(tmp_path / "run")
    (bag / name).write_bytes(b"\0\5\x16\7")
    assert numbers(bag) == (list(range(18)), [])
    (bag / "metadata.yaml").unlink()
    assert numbers(bag) == (list(range(18)), [])


def pack(path):
    packed = path.with_name(f"{path.name}.zstd")
    packed.write_bytes(zstandard.compress(path.read_bytes()))
    path.unlink()
    return packed


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_recorder_that_was_killed_while_it_packed(tmp_path, storage):
    """Metadata name packed files that are not packed yet, or the reverse."""
    bag = split_bag(tmp_path / "run", storage=storage)
    suffix = {"sqlite3": "db3", "mcap": "mcap"}[storage]
    pack(bag / f"run_0.{suffix}")
    pack(bag / f"run_1.{suffix}")
    metadata = bag / "metadata.yaml"
    assert numbers(bag) == (list(range(18)), [])
    metadata.write_text(metadata.read_text().replace(f".{suffix}", f".{suffix}.zstd"))
    assert numbers(bag) == (list(range(18)), [])
    metadata.unlink()
    assert numbers(bag) == (list(range(18)), [])


def test_packed_file_that_is_cut_off(tmp_path):
    path = write_mcap(tmp_path / "x.mcap", order=range(300), chunk_size=1)
    packed = pack(path)
    packed.write_bytes(packed.read_bytes()[:-50_000])
    found, notes = numbers(packed)
    assert found == list(range(len(found)))
    assert 50 < len(found) < 300
    assert any("ends early" in note for note in notes)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_messages_compressed_one_by_one_without_metadata(tmp_path, storage):
    plugin = StoragePlugin[storage.upper()]
    with RawWriter(tmp_path / "bag", version=8, storage_plugin=plugin) as writer:
        connection = writer.add_connection(IMAGE, KIND, typestore=TYPESTORE)
        for index in range(6):
            writer.write(connection, START + index, zstandard.compress(cdr(index)))
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert numbers(tmp_path / "bag") == (list(range(6)), [])


def test_message_that_cannot_be_unpacked(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        for index in range(6):
            data = zstandard.compress(cdr(index))
            writer.write_cdr(IMAGE, KIND, data[: -9 if index == 2 else None], stamp=START + index)
    with BagReader(tmp_path / "bag") as reader:
        assert [item.stamp - START for item in reader.messages()] == [0, 1, 3, 4, 5]
        assert reader.notes == [f"1 messages on {IMAGE} could not be unpacked or converted."]


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize(
    "name", ["run #3", "100%20", "what?", "a&b=c;d", "Straße", "x'y\"z", "日 本", "two\nlines"]
)
def test_names_of_folders(tmp_path, storage, name):
    bag = write(tmp_path / "bag", storage=storage)
    (tmp_path / name).mkdir()
    moved = bag.rename(tmp_path / name / f"{name} 2")
    assert numbers(moved) == (list(range(6)), [])
    link = tmp_path / "link"
    link.symlink_to(moved)
    assert numbers(link) == (list(range(6)), [])


@pytest.mark.parametrize("name", ["run #3", "100%20", "what?"])
def test_sqlite_is_not_written_beside_its_path(tmp_path, name):
    with pytest.raises(BagError, match="sqlite3 cannot be written to a path with"):
        BagWriter(tmp_path / name / "bag", storage="sqlite3")
    assert numbers(write(tmp_path / name / "bag", storage="mcap")) == (list(range(6)), [])


def test_links_to_files(tmp_path):
    """Files of data managers: the content defines the format, not the name."""
    bag = write(tmp_path / "bag")
    (bag / "bag.db3").rename(tmp_path / "SHA256E-s1")
    (bag / "bag.db3").symlink_to(tmp_path / "SHA256E-s1")
    assert numbers(bag) == (list(range(6)), [])
    assert numbers(tmp_path / "SHA256E-s1") == (list(range(6)), [])


def test_file_that_is_no_bag_says_what_it_is(tmp_path):
    path = tmp_path / "x.bag"
    path.write_bytes(b"PK\x03\x04" + bytes(30))
    with pytest.raises(BagError, match=r"neither MCAP, SQLite nor a ROS 1 bag.*50 4b 03 04"):
        BagReader(path).__enter__()
