"""Backups: what is in one, what is dead in one, and that a restore writes nothing over."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import settings as settings_module
from manager.backup import archive, make, restore
from manager.errors import BadInput, StoreFailed
from manager.records import User
from manager.settings import ROOT, Settings
from manager.states import State
from manager.store import Store, copies
from manager.store.database import MIGRATIONS, latest_version, statements

API_TOKEN = "f" * 64
"""What the table keeps of one."""

HELD = {
    "current_user_id": 1,
    "current_username": "ann",
    "launch_id": "one",
    "token": "t" * 32,
    "secret": "s" * 32,
    "address": "127.0.0.1:8001",
}


class Site:
    """A manager's folder with everything in it, and nothing running."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self.folder = folder
        monkeypatch.setenv("MANAGER_CONFIG", str(folder / "manager.toml"))
        self.config = folder / "manager.toml"
        places = {
            "DATA_DIR": folder / "data",
            "DATABASE_PATH": folder / "manager.db",
            "CADDYFILE": folder / "Caddyfile",
            "WEBHOOKS_FILE": folder / "webhooks.toml",
        }
        lines = [f"{name} = {json.dumps(str(path))}\n" for name, path in places.items()]
        self.config.write_text("".join(lines) + "IDLE_TIMEOUT = 77\n")
        self.settings: Settings = settings_module.load()
        self.settings.data_dir.mkdir()

    def fill(self) -> None:
        """Have a user at work, a login, and somebody in the line."""
        shutil.copy(ROOT / "Caddyfile", self.settings.caddyfile)
        (self.settings.data_dir / "secret_key").write_bytes(b"k" * 32)
        (self.settings.data_dir / "card_baselines.json").write_text("{}")
        self.settings.webhooks_file.write_text("# nobody\n")
        store = Store(self.settings.database_path, 1)
        store.write(lambda t: t.ports.ensure([8001]))
        for name in ("ann", "bob"):
            self.add(store, name)
        ann = store.read(lambda t: t.users.get(1))
        assert isinstance(ann, User)
        store.write(lambda t: t.usage.begin("one", ann, 8001, 1, 5.0))
        store.write(
            lambda t: t.ports.move(8001, before=State.IDLE, after=State.STARTING, values=HELD)
        )
        store.write(
            lambda t: t.ports.move(8001, before=State.STARTING, after=State.RUNNING, values={})
        )
        store.write(lambda t: t.sessions.add("a session's id", 1, 0.0, 9e9, "here"))
        store.write(lambda t: t.api_tokens.add(1, API_TOKEN, "cmm_", "n", "use", 0.0, 9e9))
        store.write(lambda t: t.line.join(2, 0.0))
        self.store = store

    def add(self, store: Store, name: str) -> int:
        """Add an account."""
        return store.write(
            lambda t: t.users.insert(
                name,
                f"hash of {name}",
                is_admin=True,
                assigned_port=None,
                must_change_password=False,
            )
        )

    def restore(self, path: Path, *, keep_settings: bool = False) -> restore.Restored:
        with restore.unpacked(path, self.settings, keep_settings=keep_settings) as backup:
            return restore.restore(backup, "command line")

    def all_in(self, table: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.settings.database_path)
        rows = connection.execute(f"SELECT * FROM {table}").fetchall()
        connection.close()
        return rows


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(tmp_path / "here", monkeypatch)
    made.fill()
    yield made
    made.store.close()


def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Give a folder in which nothing but settings of its own is."""
    return Site(tmp_path / "there", monkeypatch)


def content(path: Path) -> bytes:
    """Give everything in an archive, as one text."""
    with tarfile.open(path) as tar:
        files = [tar.extractfile(member) for member in tar if member.isreg()]
        return b"".join(file.read() for file in files if file is not None)


def test_a_backup_is_one_private_file_with_all_that_counts(site: Site) -> None:
    made = make.make(site.settings, None)
    assert made.path.parent == site.settings.data_dir / "backups"
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    with tarfile.open(made.path) as tar:
        assert tar.getnames() == ["manifest.json", *archive.FILES]
    assert made.lacks == ()
    assert sorted(path.name for path in made.path.parent.iterdir()) == [made.path.name]
    assert not list(site.settings.data_dir.glob(".backup-*"))


def test_no_login_token_or_secret_is_in_a_backup(site: Site) -> None:
    text = site.settings.caddyfile.read_text().replace("# <<<", f"# {'t' * 32}\n# <<<")
    site.settings.caddyfile.write_text("# mine\n" + text)
    found = content(make.make(site.settings, None).path)
    assert b"hash of ann" in found
    assert b"# mine" in found
    for secret in (b"t" * 32, b"s" * 32, b"a session's id", API_TOKEN.encode()):
        assert secret not in found
    (sessions,) = site.all_in("sessions")
    assert str(sessions[0]).encode() not in found


def test_a_backup_holds_what_was_written_last(site: Site) -> None:
    # It is in the write-ahead log alone: a plain copy of the file would miss it.
    site.store.write(lambda t: t.users.set_password(2, "the newest", must_change=False))
    assert b"the newest" in content(make.make(site.settings, None).path)


def test_a_restore_brings_back_users_settings_and_use_and_lets_nobody_in(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make.make(site.settings, tmp_path / "one.tar.gz")
    there = fresh(tmp_path, monkeypatch)
    there.config.unlink()
    monkeypatch.setenv("DATA_DIR", str(there.settings.data_dir))
    monkeypatch.setenv("DATABASE_PATH", str(there.settings.database_path))
    monkeypatch.setenv("CADDYFILE", str(there.settings.caddyfile))
    monkeypatch.setenv("WEBHOOKS_FILE", str(there.settings.webhooks_file))
    done = there.restore(made.path)
    assert done.aside == []
    assert "IDLE_TIMEOUT = 77" in there.config.read_text()
    assert (there.settings.data_dir / "secret_key").read_bytes() == b"k" * 32
    assert there.settings.webhooks_file.read_text() == "# nobody\n"
    assert there.settings.caddyfile.read_bytes() == (ROOT / "Caddyfile").read_bytes()
    for path in done.placed:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store = Store(there.settings.database_path, 1)
    assert [user.username for user in store.read(lambda t: t.users.all())] == ["ann", "bob"]
    assert store.read(lambda t: t.users.password_hash(1)) == "hash of ann"
    (row,) = store.read(lambda t: t.ports.all())
    assert (row.state, row.token, row.secret, row.launch_id) == (State.IDLE, None, None, None)
    assert store.read(lambda t: t.sessions.find("a session's id", 1.0)) is None
    assert store.read(lambda t: t.api_tokens.all()) == []
    assert there.all_in("line") == []
    usage = store.read(lambda t: t.usage.last_of(1))
    assert usage is not None
    assert usage.end_reason == "shutdown"
    (entry,) = store.read(lambda t: t.audit.latest(9))
    assert (entry.actor, entry.action) == ("command line", "restored")
    store.close()


def test_what_was_there_is_kept_aside(site: Site) -> None:
    made = make.make(site.settings, None)
    site.store.write(lambda t: t.users.set_password(1, "written since", must_change=False))
    done = site.restore(made.path)
    aside = [path for path in done.aside if "manager.db" in path.name]
    assert {path.name.rsplit("-", 1)[-1] for path in aside} >= {"wal", "shm"}
    database = next(path for path in aside if not path.name.endswith(("-wal", "-shm")))
    connection = sqlite3.connect(database)
    hashes = connection.execute("SELECT password_hash FROM users").fetchall()
    connection.close()
    assert ("written since",) in hashes
    assert "IDLE_TIMEOUT" in next(p for p in done.aside if "toml" in p.name).read_text()


def test_ids_go_on_after_those_that_have_been_given(site: Site) -> None:
    made = make.make(site.settings, None)
    site.add(site.store, "eve")
    (site.settings.data_dir / "workspaces" / "9-gone-abcdef").mkdir(parents=True)
    site.restore(made.path)
    store = Store(site.settings.database_path, 1)
    new = site.add(store, "new")
    store.close()
    assert new == 10


def test_the_oldest_generated_backups_go(site: Site, tmp_path: Path) -> None:
    for name in (
        "comfyui-manager-20200101-000000.tar.gz",
        "comfyui-manager-20200102-000000.tar.gz",
    ):
        (tmp_path / name).touch()
    (tmp_path / "mine.tar.gz").touch()
    made = make.make(site.settings, tmp_path, keep=2)
    assert [path.name for path in made.removed] == ["comfyui-manager-20200101-000000.tar.gz"]
    assert {path.name for path in tmp_path.glob("*.tar.gz")} == {
        "comfyui-manager-20200102-000000.tar.gz",
        "mine.tar.gz",
        made.path.name,
    }


def test_the_one_just_made_stays_whatever_the_clock_says(site: Site, tmp_path: Path) -> None:
    (tmp_path / "comfyui-manager-29990101-000000.tar.gz").touch()
    made = make.make(site.settings, tmp_path, keep=1)
    assert [path.name for path in made.removed] == ["comfyui-manager-29990101-000000.tar.gz"]
    assert list(tmp_path.glob("*.tar.gz")) == [made.path]


def test_what_a_killed_backup_left_goes_with_a_later_one(site: Site, tmp_path: Path) -> None:
    draft = tmp_path / ".comfyui-manager-20200101-000000.tar.gz.123"
    copy = site.settings.data_dir / f"{make.DRAFTS}abc"
    for age, stays in ((make.LEFT_S - 60, True), (make.LEFT_S + 60, False)):
        copy.mkdir(exist_ok=True)
        (copy / "database").touch()
        draft.touch()
        for path in (draft, copy):
            os.utime(path, (time.time() - age,) * 2)
        make.make(site.settings, tmp_path / f"{stays}.tar.gz")
        assert (draft.exists(), copy.exists()) == (stays, stays)


def test_a_file_that_is_there_is_not_written_over(site: Site, tmp_path: Path) -> None:
    (tmp_path / "one.tar.gz").write_text("precious")
    with pytest.raises(BadInput, match="not written over"):
        make.make(site.settings, tmp_path / "one.tar.gz")
    assert (tmp_path / "one.tar.gz").read_text() == "precious"


def test_a_damaged_database_gives_no_backup(site: Site) -> None:
    site.store.close()
    path = site.settings.database_path
    content_before = bytearray(path.read_bytes())
    content_before[4096 * 3 : 4096 * 6] = b"\xff" * 4096 * 3
    path.write_bytes(content_before)
    assert copies.integrity(path)
    with pytest.raises(StoreFailed):
        make.make(site.settings, None)
    assert list((site.settings.data_dir / "backups").iterdir()) == []


@pytest.mark.parametrize("cut", [0, 40, -200])
def test_a_cut_off_archive_is_refused_and_changes_nothing(
    site: Site, tmp_path: Path, cut: int
) -> None:
    made = make.make(site.settings, tmp_path / "one.tar.gz")
    made.path.write_bytes(made.path.read_bytes()[:cut])
    before = sorted(site.folder.rglob("*"))
    with pytest.raises(BadInput):
        site.restore(made.path)
    assert sorted(site.folder.rglob("*")) == before


def rewritten(source: Path, target: Path, **changes: bytes) -> Path:
    """Copy an archive with other contents for some of its members, as their checksums say."""
    with tarfile.open(source) as old, tarfile.open(target, "w:gz") as new:
        for member in old:
            file = old.extractfile(member)
            assert file is not None
            text = changes.get(member.name.split(".")[0], file.read())
            member.size = len(text)
            new.addfile(member, io.BytesIO(text))
    return target


def test_a_changed_member_is_found(site: Site, tmp_path: Path) -> None:
    made = make.make(site.settings, tmp_path / "one.tar.gz")
    bad = rewritten(made.path, tmp_path / "two.tar.gz", secret_key=b"x" * 32)
    with pytest.raises(BadInput, match="secret_key in it is damaged"):
        site.restore(bad)


def archive_of(database: Path, target: Path) -> Path:
    """Make an archive around a database file, as another version would have."""
    schema = int(sqlite3.connect(database).execute("PRAGMA user_version").fetchone()[0])
    digests = {archive.DATABASE: archive.sha256(database)}
    with tarfile.open(target, "w:gz") as tar:
        archive.add_manifest(tar, archive.Manifest("0.0.1", schema, 5.0, False, digests))
        archive.add_bytes(tar, archive.DATABASE, database.read_bytes(), 0)
    return target


def old_database(path: Path, version: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for script in sorted(MIGRATIONS.glob("[0-9]*.sql")):
        if int(script.name[:4]) <= version:
            for statement in statements(script.read_text(encoding="utf-8")):
                connection.execute(statement)
    connection.execute("INSERT INTO users (username, password_hash) VALUES ('old', 'h')")
    if version > 1:
        connection.execute(
            "INSERT INTO sessions (id_hash, user_id, created_at, expires_at, address) "
            "VALUES ('hash', 1, 0, 9e9, 'here')"
        )
        connection.execute(
            "INSERT INTO port_status (port, current_user_id, current_username, status, launch_id, "
            "token) VALUES (8001, 1, 'old', 'running', 'one', 'token')"
        )
    # The client's own text knows no version.
    connection.execute(f"PRAGMA user_version = {version if version > 1 else 0}")
    connection.close()


VERSIONS = [int(path.name[:4]) for path in sorted(MIGRATIONS.glob("[0-9]*.sql"))]


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_every_older_schema_is_restored_and_brought_up_to_date(
    site: Site, tmp_path: Path, version: int
) -> None:
    old_database(tmp_path / "old.db", version)
    site.restore(archive_of(tmp_path / "old.db", tmp_path / "old.tar.gz"))
    store = Store(site.settings.database_path, 1)
    assert [user.username for user in store.read(lambda t: t.users.all())] == ["old"]
    assert store.read(lambda t: t.ports.holding()) == []
    store.close()
    assert site.all_in("sessions") == []
    assert "token" not in str(site.all_in("port_status"))


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_a_copy_of_every_older_schema_is_kept_before_it_is_changed(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "my [data].db"
    old_database(path, version)
    Store(path, 1).close()
    kept = path.with_name(f"{path.name}.backup-before-{latest_version()}")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    connection = sqlite3.connect(kept)
    assert connection.execute("SELECT username FROM users").fetchall() == [("old",)]
    assert connection.execute("PRAGMA user_version").fetchone()[0] in (0, version)
    connection.close()
    Store(path, 1).close()
    assert [one.name for one in tmp_path.glob("*backup-before*")] == [kept.name]


def test_a_copy_kept_before_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "manager.db"
    kept = path.with_name(f"manager.db.backup-before-{latest_version()}")
    kept.write_text("the state before a migration that was broken off")
    old_database(path, 2)
    Store(path, 1).close()
    assert kept.read_text().startswith("the state")
    assert kept.with_name(f"{kept.name}-2").exists()


def test_a_new_file_leaves_no_copy(tmp_path: Path) -> None:
    Store(tmp_path / "manager.db", 1).close()
    assert not list(tmp_path.glob("*backup*"))


def test_a_schema_is_not_changed_where_no_copy_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manager.db"
    old_database(path, 2)

    def no_room(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("manager.store.keeping.save_file", no_room)
    with pytest.raises(StoreFailed, match="No space left"):
        Store(path, 1)
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (2,)


def test_a_newer_schema_is_refused_with_words(site: Site, tmp_path: Path) -> None:
    newer = tmp_path / "newer.db"
    Store(newer, 1).close()
    connection = sqlite3.connect(newer)
    connection.execute(f"PRAGMA user_version = {latest_version() + 1}")
    connection.close()
    with pytest.raises(BadInput, match="newer version"):
        site.restore(archive_of(newer, tmp_path / "newer.tar.gz"))
    assert site.all_in("sessions")


def test_settings_this_version_does_not_know_are_named_and_can_be_left_out(
    site: Site, tmp_path: Path
) -> None:
    site.config.write_text(site.config.read_text() + "OF_TOMORROW = 1\n")
    made = make.make(site.settings, tmp_path / "one.tar.gz")
    with pytest.raises(BadInput, match=r"OF_TOMORROW.*--keep-settings"):
        site.restore(made.path)
    assert site.config not in site.restore(made.path, keep_settings=True).placed


def test_workspaces_go_in_as_they_are_and_come_back(site: Site, tmp_path: Path) -> None:
    mine = site.settings.data_dir / "workspaces" / "1-ann-abcdef"
    (mine / "output").mkdir(parents=True)
    (mine / "output" / "图.png").write_bytes(b"picture")
    (mine / "output" / "图.png").chmod(0o640)
    (mine / "link").symlink_to("/etc")
    os.mkfifo(mine / "pipe")
    if os.geteuid() == 0:
        os.chown(mine / "output", 2_001_000_001, 2_001_000_001)
    made = make.make(site.settings, tmp_path / "one.tar.gz", workspaces=True)
    (mine / "output" / "图.png").write_bytes(b"spoiled")
    done = site.restore(made.path)
    assert (mine / "output" / "图.png").read_bytes() == b"picture"
    assert stat.S_IMODE((mine / "output" / "图.png").stat().st_mode) == 0o640
    assert (mine / "link").readlink() == Path("/etc")
    assert not (mine / "pipe").exists()
    if os.geteuid() == 0:
        assert (mine / "output").stat().st_uid == 2_001_000_001
    aside = next(path for path in done.aside if path.name.startswith("workspaces"))
    assert (aside / "1-ann-abcdef" / "output" / "图.png").read_bytes() == b"spoiled"


def test_a_folder_swapped_for_a_link_is_not_walked_into(tmp_path: Path) -> None:
    """While it walks, a user puts a link to somebody else's folder in the place of his own."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("secret")
    mine = tmp_path / "workspaces" / "mine"
    (mine / "a").mkdir(parents=True)

    class Swapping(tarfile.TarFile):
        def addfile(self, tarinfo: tarfile.TarInfo, fileobj: object = None) -> None:
            if tarinfo.name == "workspaces/mine":
                (mine / "a").rmdir()
                (mine / "a").symlink_to(tmp_path / "secrets")
            super().addfile(tarinfo, fileobj)  # type: ignore[arg-type]

    with Swapping(tmp_path / "one.tar", "w") as tar:
        archive.add_tree(tar, tmp_path / "workspaces", "workspaces")
    assert b"secret" not in content(tmp_path / "one.tar")


def test_a_file_that_shrinks_meanwhile_does_not_spoil_the_archive(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "a").write_bytes(b"x" * 3_000_000)
    (folder / "b").write_bytes(b"whole")

    class Shrinking(tarfile.TarFile):
        def addfile(self, tarinfo: tarfile.TarInfo, fileobj: object = None) -> None:
            if tarinfo.name == "w/a":
                os.truncate(folder / "a", 10)
            super().addfile(tarinfo, fileobj)  # type: ignore[arg-type]

    with Shrinking(tmp_path / "one.tar", "w") as tar:
        assert archive.add_tree(tar, folder, "w") == 0
    with tarfile.open(tmp_path / "one.tar") as made:
        file = made.extractfile("w/b")
        assert file is not None
        assert file.read() == b"whole"


def test_an_archive_cannot_write_outside_of_the_workspaces(site: Site, tmp_path: Path) -> None:
    made = make.make(site.settings, tmp_path / "one.tar.gz", workspaces=True)
    evil = tmp_path / "two.tar.gz"
    with tarfile.open(made.path) as old, tarfile.open(evil, "w:gz") as new:
        for member in old:
            new.addfile(member, old.extractfile(member))
        archive.add_bytes(new, "workspaces/../../escaped", b"x", 0)
    with pytest.raises(BadInput, match="leads out"):
        site.restore(evil)
    assert not list(tmp_path.rglob("escaped"))


def test_what_else_lets_somebody_in_would_have_to_be_dead_in_copies(site: Site) -> None:
    """A new table of hashes, such as of tokens, has to be decided about in ``DEAD_IN_COPIES``."""
    connection = sqlite3.connect(site.settings.database_path)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    hashed = {
        name
        for name in names
        for column in connection.execute(f"PRAGMA table_info({name})")
        if "hash" in column[1] or "token" in column[1]
    }
    connection.close()
    # The audit's hashes are over what everybody who has the copy can read.
    # Recovery codes stay as passwords do: without one they open nothing, and who has lost his
    # phone would be out after a restore.
    stays = {"users", "recovery_codes", "port_status", "audit"}
    assert hashed - set(copies.DEAD_IN_COPIES) == stays


def test_what_a_crash_may_leave_beside_the_database_is_hidden_from_instances(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hidden is what begins with the name of a hidden file, see ``launcher/view.py``."""
    made = make.make(site.settings, None)
    before = {path.name for path in site.folder.iterdir()}

    def crash(*_args: object) -> None:
        raise OSError(5, "the machine goes down")

    monkeypatch.setattr(restore, "_swap", crash)
    with pytest.raises(StoreFailed):
        site.restore(made.path)
    (left,) = {path.name for path in site.folder.iterdir()} - before
    assert left.startswith("manager.toml")
    old_database(tmp_path / "old.db", 2)
    monkeypatch.setattr(Path, "replace", crash)
    monkeypatch.setattr(Path, "unlink", lambda *_args, **_more: None)
    with pytest.raises(StoreFailed):
        Store(tmp_path / "old.db", 1)
    assert all(path.name.startswith("old.db") for path in tmp_path.glob("*old.db*"))
