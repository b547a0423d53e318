"""``start_manager.sh upgrade``: a newer version by git, users' work untouched, and the way back."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.client import ADMIN_PASSWORD, Client, first_admin
from tests.support.copies import Copy, copy_tree, make_copy

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

OWN_LINE = "# a site of the operator's own\n"
THEIR_LINE = "# a new remark in the shipped file\n"
AUTHOR = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
NEWER = {"manager/__init__.py": '__version__ = "9.9.9"\n'}
DOES_NOT_START = """

def serve(*_all: object) -> None:
    raise RuntimeError("no")
"""


def git(folder: Path, *words: str) -> str:
    """Run git there."""
    done = subprocess.run(
        ["git", *AUTHOR, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def publish(origin: Path, added: dict[str, str] | None = None) -> str:
    """Make the next commit there: text that is added to files, by their names."""
    for name, text in (added or {}).items():
        with (origin / name).open("a", encoding="utf-8") as file:
            file.write(text)
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message", "The next version")
    return git(origin, "rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Where versions are published."""
    folder = tmp_path / "origin"
    copy_tree(folder)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    publish(folder)
    return folder


@pytest.fixture
def house(tmp_path: Path, origin: Path) -> Iterator[Copy]:
    """A clone of it, with the packages that run this test."""
    folder = tmp_path / "a house"
    subprocess.run(["git", "clone", "--quiet", str(origin), str(folder)], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "all.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    caddy = shutil.which("caddy", path=str(Path(sys.executable).parent)) or shutil.which("caddy")
    assert caddy
    (folder / "venv" / "bin" / "caddy").symlink_to(caddy)
    made = make_copy(folder)
    yield made
    made.call("stop")
    assert made.processes() == []


@pytest.fixture
def admin(house: Copy) -> Iterator[Client]:
    """An admin whose demo runs."""
    started = house.call("start")
    assert started.code == 0, started
    with (house.folder / "Caddyfile").open("a", encoding="utf-8") as file:
        file.write(OWN_LINE)
    with first_admin(_reached(house)) as client:
        client.start()
        yield client


def _reached(house: Copy) -> Any:
    return SimpleNamespace(url=f"http://127.0.0.1:{house.manager_port}", trusted=True)


def version_of(house: Copy) -> object:
    return house.status()["version"]


def launch(house: Copy) -> tuple[object, object]:
    (port,) = house.status()["ports"]
    assert isinstance(port, dict)
    return port["launch_id"], port["process_id"]


def schema(house: Copy) -> int:
    with closing(sqlite3.connect(house.folder / "comfyui_manager.db")) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


def backups(house: Copy) -> list[Path]:
    return list((house.folder / "data" / "backups").glob("*"))


def test_an_upgrade_keeps_work_and_the_operators_lines(
    house: Copy, admin: Client, origin: Path
) -> None:
    before = launch(house)
    after = publish(origin, {**NEWER, "Caddyfile": THEIR_LINE})

    done = house.call("upgrade")

    assert done.code == 0, done
    assert git(house.folder, "rev-parse", "HEAD") == after
    assert version_of(house) == "9.9.9"
    assert launch(house) == before
    assert admin.ask("GET", "/api/user/state").ok
    lines = (house.folder / "Caddyfile").read_text("utf-8")
    assert OWN_LINE in lines
    assert THEIR_LINE not in lines
    assert len(backups(house)) == 1
    again = house.call("upgrade")
    assert (again.code, again.out) == (0, "Nothing newer.\n")
    assert len(backups(house)) == 1


def test_a_version_that_does_not_start_is_taken_back_with_its_database(
    house: Copy, admin: Client, origin: Path
) -> None:
    before, at, known = launch(house), git(house.folder, "rev-parse", "HEAD"), schema(house)
    migration = f"manager/store/migrations/{known + 1:04}_next.sql"
    table = "CREATE TABLE next (id INTEGER);\n"
    publish(origin, {migration: table, "manager/web/serve.py": DOES_NOT_START})

    done = house.call("upgrade")

    assert done.code == 1, done
    assert "The one before runs again" in done.err
    assert git(house.folder, "rev-parse", "HEAD") == at
    assert launch(house) == before
    assert schema(house) == known
    (aside,) = house.folder.glob("*.db.failed-upgrade-*")
    assert str(aside) in done.err
    assert OWN_LINE in (house.folder / "Caddyfile").read_text("utf-8")
    with Client(_reached(house), "admin", ADMIN_PASSWORD) as back:
        assert back.ask("GET", "/api/user/state").ok


def test_packages_that_cannot_be_had_change_nothing(
    house: Copy, admin: Client, origin: Path
) -> None:
    before, at = house.status()["manager"], git(house.folder, "rev-parse", "HEAD")
    digest = "0" * 64
    publish(origin, {"requirements.lock": f"no-such-package==1.0 --hash=sha256:{digest}\n"})

    done = house.call("upgrade", PIP_NO_INDEX="1")

    assert done.code == 1, done
    assert "Nothing was changed" in done.err
    assert git(house.folder, "rev-parse", "HEAD") == at
    assert house.status()["manager"] == before


@pytest.mark.parametrize("what", ["changed", "own commit", "no git"])
def test_what_would_be_lost_is_refused(house: Copy, origin: Path, what: str) -> None:
    publish(origin, NEWER)
    if what == "no git":
        shutil.rmtree(house.folder / ".git")
    else:
        (house.folder / "README.md").write_text("mine", "utf-8")
    if what == "own commit":
        git(house.folder, "commit", "--quiet", "--all", "--message", "Mine")

    done = house.call("upgrade")

    assert done.code == 1, done
    said = {"changed": "git stash", "own commit": "commits of its own", "no git": "without git"}
    assert said[what] in done.err
    assert "9.9.9" not in (house.folder / "manager" / "__init__.py").read_text("utf-8")
    if what != "no git":
        assert (house.folder / "README.md").read_text("utf-8") == "mine"


def test_a_manager_that_is_stopped_stays_so(house: Copy, origin: Path) -> None:
    publish(origin, NEWER)

    done = house.call("upgrade")

    assert done.code == 0, done
    assert "Nothing ran" in done.out
    assert house.status()["manager"]["running"] is False
    assert version_of(house) == "9.9.9"
