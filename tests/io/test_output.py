"""The one rule of what may be replaced, and the swap that loses neither the old nor the new."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from openmore.errors import InputError
from openmore.io.atomic import atomic_folder
from openmore.io.output import FILE, Kind, numbered, require_folder, require_free, require_replaceable

JAR = Kind("a jar", marks=("jar.json",), parts=("honey", "label*.png"))


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    path = tmp_path / "jar"
    (path / "honey").mkdir(parents=True)
    for name in ("jar.json", "label_1.png"):
        (path / name).touch()
    return path


def test_what_is_absent_or_empty_is_free(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty", "some/where/deep"):
        require_free(tmp_path / name, JAR)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_an_output_of_the_same_kind_is_replaced_when_asked(jar: Path) -> None:
    with pytest.raises(InputError, match="exists already: choose another output or pass --overwrite"):
        require_free(jar, JAR)
    for stray in (".DS_Store", ".jar.json.a1b2c3d4"):
        (jar / stray).touch()
    require_free(jar, JAR, overwrite=True)


@pytest.mark.parametrize("name", ["thesis.txt", ".git", ".jar.json.backup"])
def test_what_we_did_not_write_is_never_replaced(jar: Path, name: str) -> None:
    (jar / name).mkdir()
    for overwrite in (False, True):
        with pytest.raises(InputError, match=f"holds {name}, which is no part of a jar"):
            require_free(jar, JAR, overwrite)


SHELF = Kind("a shelf", marks=("shelf.json",), parts=(*numbered("jars/{}.png"), "books/old/*.txt"))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("jars/mine.png", Path.touch),
        ("jars/000001.jpg", Path.touch),
        ("books/x.txt", Path.touch),
        ("books/old/more", Path.mkdir),
        ("jars/link", lambda path: path.symlink_to("000001.png")),
    ],
)
def test_what_we_did_not_write_is_found_in_subfolders(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    shelf = tmp_path / "shelf"
    for ours in ("shelf.json", "jars/000001.png", "jars/1000000.png", "jars/.000002.png.a1b2c3d4", "books/old/a.txt"):
        (shelf / ours).parent.mkdir(parents=True, exist_ok=True)
        (shelf / ours).touch()
    require_free(shelf, SHELF, overwrite=True)
    make(shelf / name)
    with pytest.raises(InputError, match=f"holds {name}, which is no part of a shelf"):
        require_free(shelf, SHELF, overwrite=True)


def test_a_folder_without_the_mark_is_something_else(jar: Path) -> None:
    (jar / "jar.json").unlink()
    with pytest.raises(InputError, match="is not a jar: it is not overwritten, choose another output"):
        require_replaceable(jar, JAR, overwrite=True)
    with pytest.raises(InputError, match="is not a jar"):
        require_replaceable(jar / "label_1.png", JAR, overwrite=True)


def test_files_and_folders_do_not_replace_each_other(jar: Path) -> None:
    with pytest.raises(InputError, match="no plain file"):
        require_free(jar, FILE, overwrite=True)
    with pytest.raises(InputError, match="exists already"):
        require_free(jar / "jar.json", FILE)
    require_free(jar / "jar.json", FILE, overwrite=True)


@pytest.mark.parametrize("kind", [FILE, JAR], ids=lambda kind: kind.name)
def test_a_link_is_never_replaced(jar: Path, tmp_path: Path, kind: Kind) -> None:
    for target in (jar, tmp_path / "gone"):
        link = tmp_path / f"to_{target.name}"
        link.symlink_to(target)
        with pytest.raises(InputError, match=f"is a link to .*{target.name}: give the place itself"):
            require_free(link, kind, overwrite=True)


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("x" * 250, JAR, "too long"),  # its temporary name would be
        ("x" * 300, JAR, "too long"),
        ("deep/" + "x" * 250, JAR, "too long"),
        ("jar/jar.json/out", JAR, "is a file, not a folder"),
        ("absent/page.html", FILE, "absent is missing, make it first"),
    ],
    ids=lambda value: str(value)[-20:],
)
def test_a_place_that_cannot_be_written(jar: Path, tmp_path: Path, name: str, kind: Kind, says: str) -> None:
    with pytest.raises(InputError, match="cannot write") as caught:
        require_free(tmp_path / name, kind)
    assert says in str(caught.value) and os.listdir(tmp_path) == ["jar"]


def test_a_folder_of_results_may_hold_anything_but_must_be_one(jar: Path, tmp_path: Path) -> None:
    for place in (jar, tmp_path / "some" / "where"):
        require_folder(place)
    for place in (jar / "jar.json", jar / "jar.json" / "deep"):
        with pytest.raises(InputError, match=r"cannot write .*jar\.json is a file, not a folder"):
            require_folder(place)
    with pytest.raises(InputError, match="too long"):
        require_folder(tmp_path / ("x" * 300))
    assert sorted(os.listdir(jar)) == ["honey", "jar.json", "label_1.png"]


def test_the_folder_in_the_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_args: object, **_kwargs: object) -> str:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", read_only)
    with pytest.raises(InputError, match=f"cannot write .*: {tmp_path} is read-only"):
        require_free(tmp_path / "a" / "b", JAR)


@pytest.mark.parametrize(
    ("overwrite", "arrives", "says"),
    [(False, "jar.json", "exists already"), (True, "thesis.txt", "holds thesis.txt, which is no part of a jar")],
)
def test_what_arrives_during_the_work_is_kept(jar: Path, overwrite: bool, arrives: str, says: str) -> None:
    place = jar if overwrite else jar.with_name("new")
    with pytest.raises(InputError, match=says), atomic_folder(place, JAR, overwrite) as folder:
        (folder / "jar.json").write_text("ours")
        place.mkdir(exist_ok=True)
        (place / arrives).write_text("theirs")
    assert (place / arrives).read_text() == "theirs" and not list(jar.parent.glob(".*"))


@pytest.mark.parametrize("stopped_at", ["the block", "the first rename", "the second rename", "the end"])
def test_a_stop_loses_neither_the_old_nor_the_new(jar: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: str) -> None:
    real, calls = os.replace, []

    def replace(source: Path, target: Path) -> None:
        calls.append(target)
        if stopped_at == ("the first rename", "the second rename", "")[min(len(calls) - 1, 2)]:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    try:
        with atomic_folder(jar, JAR, overwrite=True) as folder:
            (folder / "jar.json").write_text("new")
            if stopped_at == "the block":
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert stopped_at != "the end"
    assert (jar / "jar.json").read_text() == ("new" if stopped_at == "the end" else "")
    assert os.listdir(jar.parent) == ["jar"]
