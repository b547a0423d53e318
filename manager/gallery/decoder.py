"""Makes one small picture; a program of its own, run by path and not imported.

    python -I decoder.py ACCOUNT < picture > small.webp

A picture out of a user's folder may be made to break a decoder, so none is decoded in the manager,
which may be root. This process loads the decoders, then gives up all that it could do harm with:
its account (where it is root), all capabilities, every file, port and foreign process that Landlock
can hold back, memory and time; and only then looks at the first byte. What it has is the picture
and where to write the small one.
"""

from __future__ import annotations

import ctypes
import io
import os
import resource
import signal
import sys

from PIL import ExifTags, Image, ImageOps

if __name__ == "__main__":
    sys.path.append(__file__.rsplit("/", 3)[0])

from manager.launcher import landlock, privileges

EDGE = 320
MOST_PIXELS = 64_000_000
"""A picture of 8000 by 8000, which takes 256 MB unpacked."""

SECONDS = 10
MEMORY_BYTES = 1024**3
OUTPUT_BYTES = 256 * 1024
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
PR_SET_DUMPABLE = 4
CANNOT = 1
"""Exit code: no small picture can be made of this."""


def confine(account: int) -> None:
    """Give up what a decoder does not need.

    Raises:
        OSError: the kernel refused something that it can do.
    """
    signal.alarm(2 * SECONDS)
    limits = {
        resource.RLIMIT_CPU: SECONDS,
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_FSIZE: OUTPUT_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 16,
    }
    for kind, most in limits.items():
        # Not above what is allowed already.
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    if os.geteuid() == 0:
        privileges.lock_capabilities()
        os.setgroups([])
        os.setresgid(account, account, account)
        os.setresuid(account, account, account)
    privileges.clear_capabilities()
    privileges.gain_nothing_new()
    # Nobody of the same account may look into it or steer it.
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if landlock.abi() >= 1:
        landlock.enforce(landlock.rules({"bind_ports": ()}))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def shrink(image: Image.Image) -> Image.Image:
    """Give the picture with its longer side at ``EDGE`` pixels at most, right side up."""
    image.draft("RGB", (EDGE, EDGE))
    image.thumbnail((EDGE, EDGE))
    small = ImageOps.exif_transpose(image)
    clear = "A" in small.getbands() or "transparency" in small.info
    return small.convert("RGBA" if clear else "RGB")


def warm_up() -> None:
    """Decode one picture of each kind: what Pillow loads at first use is out of reach later."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    for kind in FORMATS:
        kept = io.BytesIO()
        Image.new("RGB", (4, 2)).save(kept, kind, **({} if kind == "GIF" else {"exif": turned}))
        with Image.open(kept, formats=FORMATS) as image:
            shrink(image).save(io.BytesIO(), "WEBP")


def main(account: int) -> int:
    """Read the picture from standard input, write the small one to standard output."""
    warm_up()
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow raises at twice of this
    confine(account)
    with open(0, "rb") as source, open(1, "wb") as target:
        try:
            with Image.open(source, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    return CANNOT
                shrink(image).save(target, "WEBP", quality=80)
        except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):
            return CANNOT
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
