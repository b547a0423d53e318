"""Small pictures made by a process of its own, and a folder that changes under our hands."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from manager.errors import NotFound
from manager.gallery import Gallery, decoder, thumbnails
from manager.launcher import landlock
from tests.support.pictures import WORKSPACE, bomb, chunk, png, workspace

pytestmark = pytest.mark.integration


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return workspace(tmp_path)


@pytest.fixture
def gallery(tmp_path: Path, output: Path) -> Gallery:
    return Gallery(tmp_path)


def small(gallery: Gallery, path: str) -> Image.Image:
    content = gallery.thumbnail(WORKSPACE, path)
    assert content
    with Image.open(io.BytesIO(content), formats=["WEBP"]) as image:
        image.load()
    return image


def test_each_kind_gets_a_small_picture(gallery: Gallery, output: Path) -> None:
    for name in ("x.png", "x.jpg", "x.webp", "x.gif"):
        Image.new("RGB", (1000, 500), (200, 30, 30)).save(output / name)
        image = small(gallery, name)
        assert image.size == (decoder.EDGE, decoder.EDGE // 2)
        red, green, blue = image.convert("RGB").getpixel((5, 5))  # type: ignore[misc]
        assert (red > 150, green < 90, blue < 90) == (True, True, True), name


def test_unusual_pictures_get_a_small_one_too(gallery: Gallery, output: Path) -> None:
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(output / "clear.png")
    assert small(gallery, "clear.png").mode == "RGBA"
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (40, 20)).save(output / "turned.jpg", exif=turned)
    assert small(gallery, "turned.jpg").size == (20, 40)
    frames = [Image.new("P", (30, 20), n) for n in range(3)]
    for name in ("moving.gif", "moving.webp"):
        frames[0].save(output / name, save_all=True, append_images=frames[1:])
        assert small(gallery, name).size == (30, 20)
    for mode, name in (
        ("I;16", "deep.png"),
        ("CMYK", "print.jpg"),
        ("LA", "grey.png"),
        ("1", "b.png"),
    ):
        Image.new(mode, (8, 6)).save(output / name)
        assert small(gallery, name).size == (8, 6)


def test_a_small_picture_is_made_once_and_anew_when_the_file_changes(
    gallery: Gallery, output: Path, tmp_path: Path
) -> None:
    png(output / "x.png", at=1000)
    first = gallery.thumbnail(WORKSPACE, "x.png")
    kept = list((tmp_path / "thumbnails").iterdir())
    assert len(kept) == 1
    kept[0].write_bytes(b"from the folder")
    assert gallery.thumbnail(WORKSPACE, "x.png") == b"from the folder"
    png(output / "x.png", at=2000)
    assert gallery.thumbnail(WORKSPACE, "x.png") == first
    assert (tmp_path / "thumbnails").stat().st_mode & 0o777 == 0o700


def test_another_users_file_with_the_same_number_and_time_is_another(
    gallery: Gallery, output: Path, tmp_path: Path
) -> None:
    path = png(output / "x.png", at=1000)
    assert gallery.thumbnail(WORKSPACE, "x.png")
    other = workspace(tmp_path, "8-bob-0123abcd")
    # A rename keeps the number, as a new file may get that of a deleted one.
    path.rename(other / "x.png")
    gallery.thumbnail("8-bob-0123abcd", "x.png")
    assert len(list((tmp_path / "thumbnails").iterdir())) == 2


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(4096))


def _empty(path: Path) -> None:
    path.touch()


def _cut(path: Path) -> None:
    whole = png(path, size=(300, 300)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _script(path: Path) -> None:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")


def _no_pixels(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""))


HOSTILE = [_garbage, _empty, _cut, _script, _no_pixels, bomb]


@pytest.mark.parametrize("make", HOSTILE)
def test_what_cannot_be_decoded_has_no_small_picture_and_is_tried_once(
    gallery: Gallery, output: Path, tmp_path: Path, make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(output / "x.png")
    assert gallery.thumbnail(WORKSPACE, "x.png") is None
    monkeypatch.setattr(thumbnails, "_DECODER", "/nonexistent")
    assert gallery.thumbnail(WORKSPACE, "x.png") is None
    assert [path.stat().st_size for path in (tmp_path / "thumbnails").iterdir()] == [0]


def test_a_file_that_is_too_large_is_not_decoded(
    gallery: Gallery, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    png(output / "x.png")
    monkeypatch.setattr(thumbnails, "MOST_FILE_BYTES", 10)
    assert gallery.thumbnail(WORKSPACE, "x.png") is None


def test_small_pictures_are_bounded(
    gallery: Gallery, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "KEPT_FILES", 2)
    monkeypatch.setattr(thumbnails, "TIDY_EVERY", 1)
    monkeypatch.setattr(thumbnails, "_DECODER", "/nonexistent")
    for number in range(5):
        png(output / f"{number}.png")
        gallery.thumbnail(WORKSPACE, f"{number}.png")
    assert len(list((tmp_path / "thumbnails").iterdir())) <= 3


CONFINED = """
import os, sys
sys.path.append({root!r})
from manager.gallery import decoder
from manager.launcher import landlock, privileges
decoder.confine({account})
told = privileges.not_given_up({uid}, [], drop=True, locked=False)
print(told)
for what in (lambda: open({path!r}).read(), lambda: os.fork(), lambda: open({draft!r}, "w")):
    try:
        what()
        print("done")
    except OSError as error:
        print(type(error).__name__)
"""


def test_a_decoder_has_given_up_what_it_does_not_need(tmp_path: Path) -> None:
    root = os.geteuid() == 0
    secret = tmp_path / "secret"
    secret.write_text("of the manager")
    secret.chmod(0o600)
    draft = Path(tempfile.gettempdir()) / f"decoder-{os.getpid()}"
    script = CONFINED.format(
        root=str(Path(decoder.__file__).parents[2]),
        account=thumbnails.NOBODY,
        uid=thumbnails.NOBODY if root else None,
        path=str(secret),
        # Where anybody may write who is not kept from it.
        draft=str(draft),
    )
    told = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()
    draft.unlink(missing_ok=True)
    write = "PermissionError" if landlock.abi() else "done"
    read = "PermissionError" if root else write
    assert told == ["[]", read, "BlockingIOError", write]


def test_links_swapped_in_while_we_look_lead_nowhere(gallery: Gallery, output: Path) -> None:
    """A user swaps a file, and a folder on the way, for links to a secret as fast as he can."""
    secret = output.parent.parent.parent / "secret"
    (secret / "sub").mkdir(parents=True)
    (secret / "sub" / "x.png").write_bytes(b"SECRET")
    (output / "sub").mkdir()
    (output / "sub" / "x.png").write_bytes(b"own")
    (output / "y.png").write_bytes(b"own")
    (output / "link").symlink_to(secret / "sub")
    (output / "file-link").symlink_to(secret / "sub" / "x.png")
    ended = threading.Event()

    def swap() -> None:
        # Each round ends as it began; the links keep their names "link" and "file-link".
        while not ended.is_set():
            for name, link in (("sub", "link"), ("y.png", "file-link")):
                (output / name).rename(output / "aside")
                (output / link).rename(output / name)
                (output / name).rename(output / link)
                (output / "aside").rename(output / name)

    swapping = threading.Thread(target=swap)
    swapping.start()
    served, refused = set(), 0
    try:
        for _ in range(1500):
            for path in ("sub/x.png", "y.png"):
                try:
                    opened = gallery.open(WORKSPACE, path)
                except NotFound:
                    refused += 1
                    continue
                served.add(os.read(opened.descriptor, 99))
                os.close(opened.descriptor)
            listed = gallery.listing(WORKSPACE).pictures
            assert all(one.size == len(b"own") for one in listed)
    finally:
        ended.set()
        swapping.join()
    assert served == {b"own"}
    # Else the race was never run.
    assert refused > 0
    assert (secret / "sub" / "x.png").read_bytes() == b"SECRET"
