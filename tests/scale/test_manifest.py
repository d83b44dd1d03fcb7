from __future__ import annotations

from pathlib import Path

import pytest

from openmore.errors import DataError, InputError
from openmore.scale import Item, read_manifest, write_manifest


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
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


def test_names_in_every_script_are_ids(tmp_path: Path) -> None:
    sources = ["視頻.mp4", "видео 1.mp4", "фото 1.mp4", "हिन्दी.mp4", "cafe\u0301.mp4", "clip [1] (2).mp4"]
    items = read_manifest(write(tmp_path / "m", "\n".join(sources)))
    assert [item.id for item in items] == ["視頻", "видео_1", "фото_1", "हिन्दी", "caf\u00e9", "clip_1_2_"]
    assert [item.source for item in items] == sources


def test_round_trip(tmp_path: Path) -> None:
    items = [Item("a", "a.mp4", {"stride": 2}), Item("b", "b"), Item("видео_1", "видео 1.mp4")]
    write_manifest(tmp_path / "m.jsonl", items)
    assert read_manifest(tmp_path / "m.jsonl") == items


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.mp4\nb/a.mp4\n", "line 2: id 'a' is taken by line 1"),
        ('{"source": \n', "line 1: not JSON"),
        ('{"id": "a"}\n', "line 1: there is no source"),
        ('{"id": "../a", "source": "a"}\n', "no plain name"),
        ('{"id": "a b", "source": "a"}\n', "no plain name"),
        ("🎬.mp4\n", "line 1: id '' is no plain name"),
        ("caf\u00e9.mp4\nb/cafe\u0301.mp4\n", "line 2: id 'caf\u00e9' is taken by line 1"),
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
