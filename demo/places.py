"""The instance's directories, and files in them by the names a browser gives."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path

HOME = Path(__file__).resolve().parent


class Places:
    """Where input, output and previews are."""

    def __init__(self, options: Namespace) -> None:
        """Take the directories from the command line; previews go to ``temp/temp``."""
        base = Path(options.base_directory) if options.base_directory else HOME
        self.input = Path(options.input_directory or base / "input").absolute()
        self.output = Path(options.output_directory or base / "output").absolute()
        self.temp = Path(options.temp_directory or base).absolute() / "temp"

    def begin(self) -> None:
        """Wipe the previews of the last run, as ComfyUI does at every start."""
        shutil.rmtree(self.temp, ignore_errors=True)
        self.temp.mkdir(parents=True, exist_ok=True)

    def end(self) -> None:
        """Wipe the previews, as ComfyUI does at a clean stop."""
        shutil.rmtree(self.temp, ignore_errors=True)

    def folder(self, kind: str) -> Path | None:
        """Give the folder that ``type`` names."""
        return {"input": self.input, "output": self.output, "temp": self.temp}.get(kind)

    def find(self, kind: str, subfolder: str, name: str) -> Path | None:
        """Find a file.

        Returns:
            None when there is none.

        Raises:
            ValueError: the names lead out of the folder.
        """
        folder = self.folder(kind)
        if folder is None or not name or name.startswith("/") or ".." in name:
            raise ValueError(name)
        inside = (folder / subfolder / Path(name).name).resolve()
        if not inside.is_relative_to(folder.resolve()):
            raise ValueError(name)
        return inside if inside.is_file() else None

    def keep_upload(self, kind: str, name: str, content: bytes, *, overwrite: bool) -> str:
        """Write an uploaded file, beside one of the same name unless it is to be replaced.

        Returns:
            The name it got.

        Raises:
            ValueError: no such folder, or the name leads out of it.
        """
        folder, plain = self.folder(kind), Path(name).name
        if folder is None or plain in {"", ".", ".."} or plain != name:
            raise ValueError(name)
        folder.mkdir(parents=True, exist_ok=True)
        target, number = folder / plain, 0
        while target.exists() and not overwrite:
            number += 1
            target = folder / f"{Path(plain).stem} ({number}){Path(plain).suffix}"
        target.write_bytes(content)
        return target.name
