import numpy as np
import pytest

from depthformer_core.data.ply import write_ply


def read_ply(path):
    """Read what the header of a binary PLY file describes."""
    header, data = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    count = int(lines[2].removeprefix("element vertex "))
    kinds = {"float": "<f4", "uchar": "u1"}
    fields = [(line.split()[2], kinds[line.split()[1]]) for line in lines[3:]]
    vertices = np.frombuffer(data, np.dtype(fields))
    assert len(vertices) == count
    return vertices


def test_finite_points_are_written(tmp_path):
    points = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
    rgb = np.random.default_rng(1).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    points[0, 1, 2] = np.nan
    points[2, 3, 0] = np.inf
    assert write_ply(tmp_path / "cloud.ply", points, rgb) == 10
    vertices = read_ply(tmp_path / "cloud.ply")
    kept = np.isfinite(points).all(axis=-1)
    for place, name in enumerate("xyz"):
        np.testing.assert_array_equal(vertices[name], points[kept][:, place])
    for place, name in enumerate(("red", "green", "blue")):
        np.testing.assert_array_equal(vertices[name], rgb[kept][:, place])
    assert [path.name for path in tmp_path.iterdir()] == ["cloud.ply"]


def test_empty_cloud(tmp_path):
    points = np.full((2, 2, 3), np.nan)
    assert write_ply(tmp_path / "cloud.ply", points, np.zeros((2, 2, 3), np.uint8)) == 0
    assert len(read_ply(tmp_path / "cloud.ply")) == 0


@pytest.mark.parametrize(
    ("points", "rgb"),
    [
        (np.zeros((2, 3)), np.zeros((3, 3), np.uint8)),
        (np.zeros((2, 2)), np.zeros((2, 2), np.uint8)),
        (np.zeros((2, 3)), np.zeros((2, 3))),
    ],
    ids=["lengths", "columns", "float_colours"],
)
def test_mismatch_is_refused(tmp_path, points, rgb):
    with pytest.raises(ValueError, match="must both be"):
        write_ply(tmp_path / "cloud.ply", points, rgb)
