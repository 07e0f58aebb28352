"""Files that list datasets to mix."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import DatasetError, DepthDataset
from depthformer_core.data.mixed import MixedDataset, open_mix


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `a` of six pairs, with cameras, and `b` of two, and a list of one of them."""
    folder = tmp_path_factory.mktemp("mix")
    for name, images in (("a", 6), ("b", 2)):
        for kind in ("rgb", "depth"):
            (folder / name / kind).mkdir(parents=True)
        for index in range(images):
            pixels = np.full((4, 6, 3), index, np.uint8)
            assert cv2.imwrite(str(folder / name / "rgb" / f"{name}{index}.png"), pixels)
            depth = np.full((4, 6), 1000, np.uint16)
            assert cv2.imwrite(str(folder / name / "depth" / f"{name}{index}.png"), depth)
    rows = [f"a{index},{5 + index},5,3,2" for index in range(6)]
    (folder / "a" / "frames.csv").write_text("\n".join(["name,fx,fy,cx,cy", *rows, ""]))
    (folder / "one.txt").write_text("rgb/b1.png depth/b1.png\n")
    return folder


def written(folder: Path, text: str) -> Path:
    path = folder / "mix.yaml"
    path.write_text(text, encoding="utf-8")
    return path


A = "- {name: folder, root: a, depth_scale: 1000, weight: 1}\n"


def test_datasets_and_shares_are_the_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    path = written(
        Path(root.name),
        "- {name: folder, root: a, depth_scale: 1000, weight: 0.25}\n"
        "- {name: folder, root: ./b, depth_scale: 500, weight: 0.75}\n",
    )
    mixed = open_mix(path)
    frames = [mixed[index] for index in range(len(mixed))]
    assert Counter(frame.file[0] for frame in frames) == {"a": 6, "b": 18}
    assert [part.count for part in mixed.parts] == [6, 18]
    for frame in frames:
        assert frame.depth is not None
        if frame.file.startswith("a"):
            assert frame.camera is not None
            assert frame.camera.fx == 5 + int(frame.file[1])
            assert frame.depth.max() == 1
        else:
            assert frame.camera is None
            assert frame.depth.max() == 2
    entries = [part.entry for part in mixed.parts]
    assert [entry and (entry.root, entry.weight) for entry in entries] == [
        (root / "a", 0.25),
        (root / "b", 0.75),
    ]


def test_a_split_lies_beside_the_file_and_generated_streets_need_no_folder(root: Path) -> None:
    text = "- {name: folder, root: b, split: one.txt, depth_scale: 1000, weight: 0.5}\n"
    mixed = open_mix(written(root, text + "- {name: synthetic, weight: 0.5}\n"))
    assert mixed.parts[0].dataset.files == ("rgb/b1.png",)
    assert mixed.parts[1].dataset.name == "synthetic"


def test_home_is_meant_by_a_tilde(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(root))
    path = written(tmp_path, "- {name: folder, root: ~/a, depth_scale: 1000, weight: 1}\n")
    assert len(open_mix(path)) == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("- {name: folder", ", line 1 is not YAML: expected", id="not YAML"),
        pytest.param("- \x01", "is not YAML: unacceptable character", id="no text"),
        pytest.param("[" * 5000, "is not YAML: maximum recursion", id="deep"),
        pytest.param("- 2011-13-45", "is not YAML: month must", id="no date"),
        pytest.param("- !!python/object:os.system x", "is not YAML: could not", id="code"),
        pytest.param("- {weight: 1, weight: 2}", "found duplicate key", id="a key twice"),
        pytest.param("", "must be a list of datasets, got nothing", id="empty"),
        pytest.param("[]", "must be a list of datasets, got an empty list", id="empty list"),
        pytest.param("a: b", "must be a list of datasets, got a mapping", id="mapping"),
        pytest.param("text", "must be a list of datasets, got 'text'", id="a text"),
        pytest.param(
            A + "- folder", "entry 2: a dataset must be a mapping, got 'folder'", id="text"
        ),
        pytest.param("- &a [*a]", "entry 1: a dataset must be a mapping, got a list", id="list"),
        pytest.param(
            A + "- {name: folder, rot: a, weight: 1}",
            "entry 2: unknown key 'rot'; known are name, root, split, depth_scale, weight",
            id="unknown key",
        ),
        pytest.param("- {? [a, b] : c}", "entry 1: unknown key a tuple", id="no key"),
        pytest.param("- {root: a, weight: 1}", "entry 1: name is missing", id="no name"),
        pytest.param("- {name: folder, root: a}", "entry 1: weight is missing", id="no weight"),
        pytest.param("- {name: 3, weight: 1}", "entry 1: name must be text, got 3", id="name"),
        pytest.param(
            "- {name: folder, root: ~, weight: 1}", "root must be text, got nothing", id="root"
        ),
        pytest.param(
            "- {name: folder, root: '', weight: 1}", "root must be text, got ''", id="no root"
        ),
        pytest.param(
            "- {name: folder, root: a, split: [b], weight: 1}",
            "split must be text, got a list",
            id="split",
        ),
        pytest.param(
            "- {name: folder, root: ~nobody-here/a, weight: 1}",
            "entry 1: ~nobody-here/a",
            id="home",
        ),
        *(
            pytest.param(
                f"- {{name: folder, root: a, {key}: {value}, {other}: 1}}",
                f"entry 1: {key} must be {must}",
                id=f"{key} {value[:9]}",
            )
            for key, other in (("weight", "depth_scale"), ("depth_scale", "weight"))
            for value, must in (
                ("yes please", "a number, got 'yes please'"),
                ("true", "a number, got True"),
                ("[1]", "a number, got a list"),
                ("0", "positive and finite, got 0"),
                ("-1.5", "positive and finite, got -1.5"),
                (".nan", "positive and finite, got nan"),
                (".inf", "positive and finite, got inf"),
                ("9" * 400, "positive and finite, got 9999"),
            )
        ),
        pytest.param(
            "- {name: cityscapes, weight: 1}", "entry 1: dataset must be one of", id="kind"
        ),
        pytest.param("- {name: folder, weight: 1}", "entry 1: folder needs a root", id="rootless"),
        pytest.param(
            A + "- {name: nyu, root: nowhere, weight: 1}", "entry 2: root /", id="no folder"
        ),
        pytest.param(
            "- {name: folder, root: a, weight: 1}",
            "depth_scale must be their steps",
            id="no depth_scale",
        ),
        pytest.param(
            f"- {{name: folder, root: {'a' * 300}, weight: 1}}", "entry 1: ", id="long name"
        ),
        pytest.param(
            '- {name: folder, root: "a\\0b", weight: 1}', "entry 1: ", id="zero in a name"
        ),
        pytest.param(
            A + "- {name: folder, root: b, depth_scale: 1, weight: 5.0e-324}",
            "make a pass of inf: one of them is too small",
            id="uneven",
        ),
    ],
)
def test_errors_are_one_line_with_the_files_name(root: Path, text: str, said: str) -> None:
    path = written(root, text)
    with pytest.raises(DatasetError) as caught:
        open_mix(path)
    message = str(caught.value)
    assert message.startswith(f"mix {path}")
    assert said in message
    assert "\n" not in message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read mix .*nothing\.yaml: No such file"):
        open_mix(tmp_path / "nothing.yaml")
    with pytest.raises(ValueError, match=r"cannot read mix .*: Is a directory"):
        open_mix(tmp_path)
    (tmp_path / "mix.yaml").write_bytes("- {}".encode("utf-16"))
    with pytest.raises(ValueError, match="UTF-16"):
        open_mix(tmp_path / "mix.yaml")


class OneFrame(DepthDataset):
    """A dataset without files."""

    def __len__(self) -> int:
        return 1


def test_notes_are_those_of_the_datasets(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = open_mix(written(root, A)).parts[0].dataset
    noted = OneFrame([], name="noted", depth_format=None, notes=["2 drives are left out."])
    mixed = MixedDataset([plain, noted], [1, 1])
    assert mixed.notes == ("2 drives are left out.",)
    mixed.check(progress=True)
    assert capsys.readouterr().err.count("2 drives are left out.") == 1
