"""Settings: one frozen record, filled once from defaults, then ``manager.toml``, then environment.

Which there are stands in ``setting_fields``. An unknown name or a value that is not allowed refuses
to start and says the name, the value and what is allowed. Imports nothing that eventlet must patch.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manager.errors import SettingsError
from manager.ports import LOCAL, check_nodes, check_ports, read_ports
from manager.setting_fields import Settings
from manager.setting_kinds import Choice, Kind, Origin
from manager.sign_in_fields import check_sign_in

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - Python 3.10 only
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
"""The folder the project was cloned into; relative paths in settings count from here."""

CONFIG_VARIABLE = "MANAGER_CONFIG"
"""Environment variable that names another file than ``manager.toml``."""

_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(?![0-9]+$)[A-Za-z0-9-]{2,63}"
)

__all__ = [
    "CONFIG_VARIABLE",
    "ROOT",
    "Origin",
    "Settings",
    "config_file",
    "defaults",
    "describe",
    "load",
    "names",
]

_FIELDS = {f.name.upper(): f for f in dataclasses.fields(Settings)}


def names() -> list[str]:
    """List every setting's name, for documents and the admin page."""
    return list(_FIELDS)


def is_choice(name: str) -> bool:
    """Tell whether a setting is one of a few words that anybody may read in the documents."""
    return name in _FIELDS and isinstance(_FIELDS[name].metadata["kind"], Choice)


def describe(name: str) -> dict[str, str]:
    """Give a setting's help, unit and what is allowed, for documents and messages."""
    meta = _FIELDS[name].metadata
    kind = meta["kind"]
    allowed = kind.allowed if kind else "rows of port, external_port, workspace_port, card"
    return {"help": meta["help"], "unit": meta["unit"], "allowed": allowed}


def config_file(environ: Mapping[str, str] | None = None, root: Path = ROOT) -> Path:
    """Give the TOML file in force: ``MANAGER_CONFIG``, else ``manager.toml`` beside the program."""
    named = (os.environ if environ is None else environ).get(CONFIG_VARIABLE)
    return root / named if named else root / "manager.toml"


def load(
    environ: Mapping[str, str] | None = None, config: Path | None = None, root: Path = ROOT
) -> Settings:
    """Read the settings in force.

    Args:
        environ: the environment; the process's own when left out.
        config: the TOML file; ``MANAGER_CONFIG`` or ``manager.toml`` beside the program else.
        root: where relative paths count from.

    Raises:
        SettingsError: names the setting, its value and what is allowed.
    """
    environ = os.environ if environ is None else environ
    named = environ.get(CONFIG_VARIABLE)
    path = config or config_file(environ, root)
    values: dict[str, object] = {}
    origins: dict[str, Origin] = {}
    content, text = _from_file(path, must_exist=bool(config or named))
    for name, raw in content.items():
        values[name] = _parse(name, raw, str(path))
        origins[name] = Origin("file", str(path), _line_of(name, text))
    for name in _FIELDS:
        if name in environ:
            values[name] = _parse(name, environ[name], "environment")
            origins[name] = Origin("environment")
    _refuse_unknown_environment(environ)
    given: dict[str, Any] = {_FIELDS[name].name: value for name, value in values.items()}
    settings = Settings(**given)
    settings = _absolute(settings, root)
    check_ports(settings.ports, settings.manager_port)
    _check_cluster(settings)
    _check_domain(settings)
    check_sign_in(settings)
    # Beside the frozen fields: it says where they came from and is none of them.
    object.__setattr__(settings, "origins", origins)
    return settings


def defaults(root: Path = ROOT) -> Settings:
    """Give the settings as they are where nothing is set."""
    return _absolute(Settings(), root)


def _from_file(path: Path, *, must_exist: bool) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError:
        if must_exist:
            raise SettingsError(f"{CONFIG_VARIABLE}: there is no file {path}") from None
        return {}, ""
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    for name in content:
        if name not in _FIELDS:
            raise SettingsError(f"{path}: unknown setting {name}; known are {', '.join(_FIELDS)}")
    return content, text


def _line_of(name: str, text: str) -> int | None:
    """Find the line that sets a name; the parser does not say it."""
    pattern = re.compile(rf"""\s*(\[\[\s*)?(["']?){name}\2\s*[\]=.]""")
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if pattern.match(line)), None)


def _parse(name: str, raw: object, source: str) -> object:
    kind: Kind | None = _FIELDS[name].metadata["kind"]
    try:
        return kind.read(raw) if kind else read_ports(raw)
    except ValueError as error:
        allowed = describe(name)["allowed"]
        detail = f" ({error})" if str(error) else ""
        raise SettingsError(
            f"{name} = {raw!r} from {source} is not allowed{detail}; allowed: {allowed}"
        ) from error


def _refuse_unknown_environment(environ: Mapping[str, str]) -> None:
    for name in environ:
        if name.startswith("MANAGER_") and name not in _FIELDS and name != CONFIG_VARIABLE:
            known = ", ".join(n for n in _FIELDS if n.startswith("MANAGER_"))
            raise SettingsError(
                f"unknown setting {name} in the environment; known with MANAGER_ are {known}"
            )


def _check_cluster(settings: Settings) -> None:
    check_nodes(settings.ports, settings.launcher)
    if settings.launcher != LOCAL and settings.card_kind == "auto":
        raise SettingsError(
            f"CARD_KIND = auto looks at this machine, but LAUNCHER = {settings.launcher} starts "
            "instances on others; say which kind their cards are: ascend, cuda, rocm or cpu"
        )


def _check_domain(settings: Settings) -> None:
    name = settings.external_ip
    # No authority gives certificates to names without a dot, and what ends in a number is none.
    if settings.tls == "domain" and not _DOMAIN.fullmatch(name):
        raise SettingsError(
            f"TLS = domain needs EXTERNAL_IP to be the server's domain name, such as "
            f"gpu.example.org, but it is {name or 'empty'}; for an address or a name without a "
            "dot take internal or files"
        )


def _absolute(settings: Settings, root: Path) -> Settings:
    values = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
    paths: dict[str, Any] = {
        name: root / value for name, value in values.items() if isinstance(value, Path)
    }
    for name in ("shared_readable", "shared_writable"):
        paths[name] = tuple(root / path for path in values[name])
    return dataclasses.replace(settings, **paths)
