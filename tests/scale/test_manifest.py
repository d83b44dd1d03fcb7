from __future__ import annotations

from pathlib import Path

import pytest

from openmore.errors import DataError, InputError
from openmore.scale import Item, read_manifest, write_manifest


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_json_lines_and_plain_lines_mix(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m",
        '# clips\n\nclips/a b.mp4\n{"source": "x/rgb", "max_frames": 5}\n{"id": "two", "source": "rtsp://camera/1"}\n',
    )
    assert read_manifest(path) == [
        Item("a_b", "clips/a b.mp4"),
        Item("x", "x/rgb", {"max_frames": 5}),
        Item("two", "rtsp://camera/1"),
    ]


def test_round_trip(tmp_path: Path) -> None:
    items = [Item("a", "a.mp4", {"stride": 2}), Item("b", "b")]
    write_manifest(tmp_path / "m.jsonl", items)
    assert read_manifest(tmp_path / "m.jsonl") == items


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.mp4\nb/a.mp4\n", "line 2: id 'a' is taken by line 1"),
        ('{"source": \n', "line 1: not JSON"),
        ('{"id": "a"}\n', "line 1: there is no source"),
        ('{"id": "../a", "source": "a"}\n', "no plain name"),
        ("# nothing\n", "names no clips"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises((DataError, InputError), match=words):
        read_manifest(write(tmp_path / "m", text))


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no manifest file"):
        read_manifest(tmp_path / "absent")
    (tmp_path / "video").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="not text"):
        read_manifest(tmp_path / "video")
