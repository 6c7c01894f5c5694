"""The files of a folder, and whether one of them is another than before, told without reading any."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from remediator.rules.files import rule_files, state_of


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def config_map(folder: Path, version: str, **files: str) -> Path:
    """As the kubelet writes it: links to links, of which one is swapped."""
    write(folder / f"..{version}", **files)
    (folder / "..new").symlink_to(f"..{version}")
    (folder / "..new").rename(folder / "..data")
    for name in (folder / "..data").iterdir():
        link = folder / name.name
        link.unlink(missing_ok=True)
        link.symlink_to(f"..data/{name.name}")
    return folder


def test_files_come_in_the_order_of_their_paths_without_hidden_and_foreign_ones(tmp_path: Path) -> None:
    write(tmp_path, b="", a__b="", a="", _x="", **{".hidden__a": "", ".c": ""})
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "c.yml").write_text("")
    (tmp_path / "d.yaml").mkdir()
    (tmp_path / "lost.yaml").symlink_to("nowhere.yaml")

    found = [path.relative_to(tmp_path).as_posix() for path in rule_files(tmp_path)]

    assert found == ["_x.yaml", "a/b.yaml", "a.yaml", "b.yaml", "c.yml", "lost.yaml"]


def rewrite_with_its_old_time(folder: Path) -> None:
    path = folder / "a.yaml"
    before = path.stat()
    path.write_text("rule: y")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_another(folder: Path) -> None:
    before = (folder / "a.yaml").stat()
    (folder / "new").write_text("rule: y")
    os.utime(folder / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (folder / "new").rename(folder / "a.yaml")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: write(folder, a="rule: longer"), id="rewritten"),
        pytest.param(rewrite_with_its_old_time, id="rewritten with its size and time kept"),
        pytest.param(replace_by_another, id="replaced by one of the same size and time"),
        pytest.param(lambda folder: write(folder, b=""), id="another one"),
        pytest.param(lambda folder: (folder / "a.yaml").unlink(), id="one less"),
        pytest.param(lambda folder: (folder / "a.yaml").rename(folder / "c.yaml"), id="renamed"),
    ],
)
def test_whatever_happens_to_a_file_changes_the_state(tmp_path: Path, change: Callable[[Path], object]) -> None:
    before = state_of(write(tmp_path, a="rule: x"))

    change(tmp_path)

    assert state_of(tmp_path) != before


def test_a_config_map_that_is_swapped_changes_the_state_and_one_that_is_not_does_not(tmp_path: Path) -> None:
    before = state_of(config_map(tmp_path, "1", a="rule: x"))
    unchanged = state_of(tmp_path)

    after = state_of(config_map(tmp_path, "2", a="rule: y"))

    assert unchanged == before != after
    assert [path.name for path in rule_files(tmp_path)] == ["a.yaml"]


def test_the_folders_of_a_config_map_are_links_and_are_read(tmp_path: Path) -> None:
    config_map(tmp_path, "1", a="", oncall__people="")

    assert [path.relative_to(tmp_path).as_posix() for path in rule_files(tmp_path)] == ["a.yaml", "oncall/people.yaml"]


def test_a_link_that_leads_back_up_is_no_maze(tmp_path: Path) -> None:
    write(tmp_path, a__b="")
    (tmp_path / "a" / "up").symlink_to(tmp_path)

    assert [path.relative_to(tmp_path).as_posix() for path in rule_files(tmp_path)] == ["a/b.yaml"]
