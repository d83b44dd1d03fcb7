from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openmore.errors import ConfigError, InputError
from openmore.io.frames import describe, frames
from openmore.io.images import MAX_SIDE, natural_key, read_image
from openmore.io.selection import parse_position
from tests.io.clips import SHAPE, picture, write_folder


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "rgb")
    (folder / ".hidden.png").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("not a picture")
    found = list(frames(folder))
    assert [f.name for f in found] == [f"frame{i}.png" for i in (8, 9, 10, 11, 12)]
    assert all(np.array_equal(f.image, picture(f.index)) for f in found)
    assert describe(folder).frame_count == 5 and describe(folder).kind == "folder"


def test_glob_list_and_single_picture(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "rgb")
    assert [f.name for f in frames(str(folder / "frame1*.png"))] == ["frame10.png", "frame11.png", "frame12.png"]
    assert [f.name for f in frames([folder / "frame9.png", str(folder / "frame8.png")])] == ["frame9.png", "frame8.png"]
    only = list(frames(folder / "frame12.png"))
    assert len(only) == 1 and np.array_equal(only[0].image, picture(4))
    assert [describe(s).kind for s in (str(folder / "*.png"), [folder / "frame9.png"])] == ["glob", "images"]


def test_an_array_is_passed_through() -> None:
    array = np.stack([picture(i) for i in range(4)])
    found = list(frames(array, stride=2))
    assert [f.index for f in found] == [0, 2] and np.array_equal(found[1].image, array[2])
    assert describe(array).shape == SHAPE


@pytest.mark.parametrize("shape", [(4, 48, 64), (0, 48, 64, 3), (4, 3, 48, 64)])
def test_another_array_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected a uint8 array \[S, H, W, 3\]"):
        frames(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("shape", "dtype", "advice"),
    [
        ((4, 48, 64, 3), "float32", "give array.round().astype(np.uint8), times 255 first if it is 0..1"),
        ((4, 48, 64, 4), "uint8", "give array[..., :3]"),
        ((48, 64, 3), "uint8", "give array[None]"),
        ((4, 3, 48, 64), "float64", "give array.transpose(0, 2, 3, 1).round()"),
    ],
)
def test_a_known_other_convention_is_told_the_way_to_ours(shape: tuple[int, ...], dtype: str, advice: str) -> None:
    with pytest.raises(InputError) as caught:
        frames(np.zeros(shape, dtype))
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ([Image.new("RGB", (64, 48))], "holds Image: give paths, or a uint8 array"),
        ([np.zeros((48, 64, 3), np.uint8)], r"holds ndarray \[48, 64, 3\]: .* say np.stack"),
        (["a.png", None], "holds NoneType"),
        (torch.zeros(2, 3, 48, 64), r"the source is Tensor \[2, 3, 48, 64\]: give a path"),
        (Image.new("RGB", (64, 48)), "the source is Image"),
        (None, "the source is NoneType"),
        (True, "the source is bool"),
        (3.5, "the source is float"),
        (b"clip.mp4", "the source is bytes"),
        (-1, "there is no camera -1"),  # OpenCV crashed on it
        (700, "there is no camera 700"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_source_is_one_line(source: object, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        frames(source)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_folder_may_have_brackets_and_any_letters_in_its_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clip [1] *? é 日本", 3)
    for source in (folder, folder / "*.png", tmp_path / "clip*" / "*9.png", folder / "frame[89].png"):
        assert len(list(frames(str(source)))) == {"*9.png": 1, "frame[89].png": 2}.get(source.name, 3)


def test_natural_order_never_compares_text_with_numbers() -> None:
    names = ["b", "10", "9", "a2", "a10", "a", "2b", "a02"]
    assert sorted(names, key=natural_key) == ["a", "a02", "a2", "a10", "b", "2b", "9", "10"]


# selection


def indices(**options: object) -> list[int]:
    array = np.zeros((60, 16, 16, 3), np.uint8)  # 30 frames per second are assumed: two seconds
    return [f.index for f in frames(array, **options)]  # type: ignore[arg-type]


def test_selection() -> None:
    assert indices(start=50, stride=3) == [50, 53, 56, 59]
    assert indices(end=5, stride=2) == [0, 2, 4]
    assert indices(start=1.0, end="1.1s") == [30, 31, 32]
    assert indices(start="58") == [58, 59]
    assert indices(fps=2) == [0, 15, 30, 45]
    assert indices(fps=10, stride=5) == [0, 15, 30, 45]
    assert indices(max_frames=3, stride=7) == [0, 7, 14]
    assert indices(fps=1000) == list(range(60))


def test_positions() -> None:
    given = [None, 7, 7.0, "7", "7s", "7.5", ".5s", "1:30", "1:00:02.5"]
    assert [parse_position(p) for p in given] == [None, 7, 7.0, 7, 7.0, 7.5, 0.5, 90.0, 3602.5]
    assert [type(parse_position(p)) for p in (7, 7.0, "7", "7s")] == [int, float, int, float]


@pytest.mark.parametrize(
    "options",
    [
        {"fps": 0},
        {"fps": float("nan")},
        {"stride": 0},
        {"max_frames": 0},
        {"start": 5, "end": 5},
        {"start": "soon"},
        {"end": -1},
    ],
)
def test_settings_that_select_nothing(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        indices(**options)


def test_a_window_behind_the_end() -> None:
    with pytest.raises(InputError, match=r"left with start=100, stride=2: choose a window"):
        indices(start=100, stride=2)


# pictures of every kind


def load(path: Path) -> np.ndarray:
    return read_image(path)[0]


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[..., 0], rgba[:8, :, 3] = 255, 255
    rgba[8, :, 3] = 128
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = load(tmp_path / "a.png")
    assert image[0, 0].tolist() == [255, 0, 0] and image[15, 0].tolist() == [255, 255, 255]
    assert image[8, 0].tolist() == pytest.approx([255, 127, 127], abs=1)
    palette = Image.fromarray(rgba).convert("P")
    palette.save(tmp_path / "p.png", transparency=palette.getpixel((0, 15)))
    assert load(tmp_path / "p.png")[15, 0].tolist() == [255, 255, 255]


def test_grey_and_sixteen_bit(tmp_path: Path) -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    for suffix in ("png", "tif"):
        Image.fromarray(ramp).save(tmp_path / f"ramp.{suffix}")
        assert np.array_equal(load(tmp_path / f"ramp.{suffix}"), np.arange(256).reshape(16, 16, 1).repeat(3, -1))
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(load(tmp_path / "grey.png")[..., 2], grey)
    Image.fromarray(picture(3)).convert("CMYK").save(tmp_path / "print.jpg")
    assert load(tmp_path / "print.jpg").shape == (*SHAPE, 3)


@pytest.mark.parametrize("mode", ["RGB", "L"])  # Pillow reads them from a TIFF in two ways
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int, name: str, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(picture(9)).convert(mode)
    stored.save(tmp_path / name, exif=exif)
    turned = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, 3), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: np.rot90,
    }[orientation](np.asarray(stored.convert("RGB")))  # fmt: skip
    assert np.array_equal(load(tmp_path / name), turned)
    assert describe(tmp_path / name).shape == read_image(tmp_path / name)[1] == turned.shape[:2]


# bad input


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fps": "ten"}, "fps 'ten' is not a rate"),
        ({"stride": 1.5}, "stride 1.5 is not a step"),
        ({"stride": "2"}, "stride '2' is not a step"),
        ({"max_frames": 2.5}, "max_frames 2.5 leaves nothing"),
        ({"max_frames": True}, "max_frames True leaves nothing"),
        ({"start": [1]}, r"position \[1\] is not a place"),
        ({"end": True}, "position True is not a place"),
    ],
)
def test_settings_of_a_wrong_type_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        indices(**options)


@pytest.mark.parametrize("source", ["a" * 300 + ".mp4", ["a" * 300 + ".png"]], ids=["path", "list"])
def test_a_path_the_system_refuses_is_one_line(source: str | list[str]) -> None:
    with pytest.raises(InputError, match=r"aaa.*: File name too long: give a shorter one"):
        frames(source)


def test_a_corrupt_picture_is_skipped_and_reported(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "rgb", suffix=".jpg")
    good = (folder / "frame9.jpg").read_bytes()
    (folder / "frame9.jpg").write_bytes(good[: len(good) // 2])
    (folder / "frame11.jpg").write_bytes(b"nonsense")
    skipped: dict[int, str] = {}
    found = list(frames(folder, on_skip=lambda index, reason: skipped.update({index: reason})))
    assert [f.index for f in found] == [0, 2, 4]
    assert list(skipped) == [1, 3] and "frame9.jpg" in skipped[1] and "frame11.jpg" in skipped[3]


def test_without_a_callback_a_loss_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_folder(tmp_path / "rgb")
    (folder / "frame9.png").write_bytes((folder / "frame9.png").read_bytes()[:200])
    assert len(list(frames(folder))) == 4
    assert "frame 1 is skipped: frame9.png" in caplog.text


def test_only_corrupt_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"no picture of .* can be read: a\.png"):
        frames(tmp_path)


def test_mixed_sizes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "rgb")
    Image.fromarray(picture(0, (32, 32))).save(folder / "frame10.png")
    with pytest.raises(InputError, match=r"differ in size \(frame8.png is 64x48, frame10.png is 32x32\)"):
        frames(folder)


def test_a_picture_of_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    with pytest.raises(InputError, match=r"dot\.png is 1x1 pixels: at least 14x14"):
        frames(tmp_path / "dot.png")


def test_missing_path_offers_near_names(tmp_path: Path) -> None:
    write_folder(tmp_path / "holiday")
    with pytest.raises(InputError, match="holliday does not exist: did you mean holiday"):
        frames(tmp_path / "holliday")
    with pytest.raises(InputError, match=r"is missing, .* is the last that exists"):
        frames(tmp_path / "no" / "such" / "clip.mp4")
    with pytest.raises(InputError, match="matches no picture"):
        frames(str(tmp_path / "*.jpg"))
    with pytest.raises(InputError, match="list of pictures is empty"):
        frames([])


def test_empty_folder_tells_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no pictures.*it is empty"):
        frames(tmp_path)
    write_folder(tmp_path / "rgb")
    (tmp_path / "clip.heic").touch()
    with pytest.raises(InputError, match=r"it holds rgb, \.heic"):
        frames(tmp_path)


def test_a_very_wide_picture_is_reduced_while_it_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (20_000, 400), (10, 200, 30)).save(tmp_path / "wide.jpg")
    frame = next(frames(tmp_path / "wide.jpg"))
    assert frame.original_shape == (400, 20_000) == describe(tmp_path / "wide.jpg").shape
    assert max(frame.image.shape) <= MAX_SIDE
    assert frame.image.shape[1] / frame.image.shape[0] == pytest.approx(50, rel=0.01)
    assert frame.image[50, 3000].tolist() == pytest.approx([10, 200, 30], abs=3)


def test_a_giant_photo_needs_little_memory(tmp_path: Path) -> None:
    Image.new("L", (20_000, 6_000), 90).save(tmp_path / "giant.jpg")
    code = (
        "import sys, resource; from openmore.io.frames import frames; import numpy, PIL.Image, PIL.JpegImagePlugin;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; frame = next(frames(sys.argv[1]));"
        "print(frame.image.shape[1], (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "giant.jpg")], capture_output=True, text=True, check=True
    )
    width, megabytes = map(int, out.stdout.split())
    assert width == 5000  # the whole picture in RGB would be 360 MB
    assert megabytes < 200


def test_a_picture_beyond_every_limit_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(InputError, match="too large to decode safely"):
        frames(tmp_path / "bomb.png")


def test_an_empty_source_is_not_the_current_folder() -> None:
    with pytest.raises(InputError, match="empty text"):
        frames("")


def test_a_broken_link_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").symlink_to("gone.mp4")
    with pytest.raises(InputError, match=r"clip\.mp4 is a link to gone\.mp4"):
        frames(tmp_path / "clip.mp4")


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.tif"])
def test_an_animation_is_not_its_first_picture(tmp_path: Path, name: str) -> None:
    shades = [Image.new("RGB", (32, 24), (60 * i, 0, 0)) for i in range(3)]
    shades[0].save(tmp_path / name, save_all=True, append_images=shades[1:])
    with pytest.raises(InputError, match="holds 3 pictures"):
        frames(tmp_path / name)
