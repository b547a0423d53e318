"""Imports a custom node as ComfyUI does (``load_custom_node`` in its ``nodes.py``), for tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def load(folder: str) -> None:
    """Import a package by its folder, wherever that is.

    Raises:
        ImportError: there is no package.
    """
    path = Path(folder)
    name = "demo_custom_node_" + path.name
    spec = importlib.util.spec_from_file_location(
        name, path / "__init__.py", submodule_search_locations=[folder]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is no package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
