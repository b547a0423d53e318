"""What of launches on other machines needs no other machine: claims, beats, jobs, addresses."""

from __future__ import annotations

import ast
import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from manager.cards import handles
from manager.errors import EngineSilent, LaunchFailed
from manager.identity import boot_id
from manager.launcher.engine import EngineFacts, Job, JobReport, JobState
from manager.launcher.far import begin, claims, hosts, node
from manager.launcher.far.beats import PATIENCE_S, Beats
from manager.launcher.far.files import FarRun
from manager.launcher.far.jobs import AGAIN_S, OLD_S, Jobs
from manager.launcher.far.known import KnownRuns, pruned
from manager.records import Address

LIBRARY = "manager"
OLDEST = (3, 9)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_launch_is_claimed_once_whoever_comes_at_once(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path;"
        "from manager.launcher.far import claims; sys.stdin.readline();"
        "print(claims.take(Path(sys.argv[1]), sys.argv[3], {'pid': 1}))"
    )
    root = Path(node.__file__).parents[3]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), str(root), by],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for by in (claims.NODE, claims.MANAGER) * 4
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate(timeout=60)[0].strip() for racer in racers]
    assert sorted(said) == ["False"] * 7 + ["True"]
    winner = (claims.NODE, claims.MANAGER)[said.index("True") % 2]
    assert claims.read(tmp_path)["by"] == winner
    assert [path.name for path in tmp_path.iterdir()] == [claims.CLAIM]


def test_a_claim_is_ours_though_the_answer_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.link

    def lost(source: Path, target: Path) -> None:
        plain(source, target)
        raise FileExistsError(errno.EEXIST, "again")

    monkeypatch.setattr(os, "link", lost)
    assert claims.take(tmp_path, claims.NODE, {})
    assert not claims.take(tmp_path, claims.MANAGER, {})


def test_without_links_a_claim_is_made_once_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    assert claims.take(tmp_path, claims.NODE, {"pid": 3})
    assert not claims.take(tmp_path, claims.MANAGER, {})
    assert claims.read(tmp_path)["pid"] == 3


def test_a_claim_that_cannot_be_written_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="full"):
        claims.take(tmp_path, claims.NODE, {})
    assert not claims.taken(tmp_path)


def test_a_beat_counts_when_it_changes_and_only_here() -> None:
    clock = Clock()
    beats = Beats(clock)
    assert not beats.fresh("one")
    # The first that is seen may be an old one, and nothing is one that is not there.
    beats.note("one", {})
    beats.note("one", {"boot_id": "b", "count": 7})
    beats.note("one", {"boot_id": "b", "count": 7})
    assert not beats.fresh("one")
    beats.note("one", {"boot_id": "b", "count": 8})
    assert beats.fresh("one")
    clock.now += PATIENCE_S - 0.1
    beats.note("one", {"boot_id": "b", "count": 8})
    assert beats.fresh("one")
    clock.now += 0.2
    assert not beats.fresh("one")
    # A number that goes back is another program's: it lives.
    beats.note("one", {"boot_id": "b", "count": 1})
    assert beats.fresh("one")


class Engine:
    """Says what the test wants, and notes what it is told."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobReport] | None = {}
        self.told: list[tuple[str, str]] = []
        self.error: Exception | None = None

    def submit(self, job: Job) -> None:
        self.told.append(("submit", job.name))
        if self.error is not None:
            raise self.error

    def look(self) -> Mapping[str, JobReport] | None:
        self.told.append(("look", ""))
        return self.jobs

    def cancel(self, name: str, *, force: bool) -> None:
        self.told.append(("force" if force else "cancel", name))

    def logs(self, name: str, max_bytes: int) -> str:
        return ""

    def forget(self, name: str) -> None:
        self.told.append(("forget", name))

    def probe(self) -> EngineFacts | None:
        return None

    def times(self, what: str) -> int:
        return [one for one, _ in self.told].count(what)


def job(name: str = "one") -> Job:
    return Job(name, ("true",), {}, "/")


def test_all_jobs_are_asked_for_in_one_question_a_second() -> None:
    engine, clock = Engine(), Clock()
    jobs = Jobs(engine, clock)
    for _ in range(20):
        jobs.report("one")
        jobs.report("two")
    assert engine.times("look") == 1
    clock.now += 1.0
    jobs.report("one")
    assert engine.times("look") == 2


def test_what_was_heard_before_a_job_was_handed_in_says_nothing_of_it() -> None:
    engine, clock = Engine(), Clock()
    jobs = Jobs(engine, clock)
    assert jobs.report("one").state is JobState.ABSENT
    clock.now += 0.1
    jobs.submit(job())
    assert jobs.report("one").state is JobState.UNKNOWN
    clock.now += 1.0
    assert jobs.report("one").state is JobState.ABSENT


def test_an_engine_that_is_silent_makes_everything_unknown() -> None:
    engine, clock = Engine(), Clock()
    engine.jobs = {"one": JobReport(JobState.RUNNING)}
    jobs = Jobs(engine, clock)
    assert jobs.report("one").state is JobState.RUNNING
    engine.jobs = None
    clock.now += 1.0
    assert jobs.report("one").state is JobState.UNKNOWN

    # A loop that hangs in its question is no answer either.
    engine.jobs = {"one": JobReport(JobState.RUNNING)}
    jobs.tick()
    assert jobs.report("one").state is JobState.RUNNING
    jobs._runs = True
    clock.now += OLD_S + 1
    assert jobs.report("one").state is JobState.UNKNOWN


def test_a_job_that_got_lost_is_handed_in_again_and_no_other() -> None:
    engine, clock = Engine(), Clock()
    jobs = Jobs(engine, clock)
    engine.error = EngineSilent("no answer")
    jobs.submit(job())
    engine.error = None
    clock.now += 1.0
    jobs.turn()
    assert engine.times("submit") == 1
    clock.now += AGAIN_S
    jobs.turn()
    assert engine.times("submit") == 2
    # It was taken after all: nothing more is to do.
    jobs.lost(job())
    engine.jobs = {"one": JobReport(JobState.QUEUED)}
    for _ in range(3):
        clock.now += AGAIN_S
        jobs.turn()
    assert engine.times("submit") == 2
    # Called off, it never is again, whatever the engine has forgotten.
    jobs.lost(job())
    jobs.cancel("one", force=True)
    engine.jobs = {}
    clock.now += AGAIN_S
    jobs.turn()
    assert engine.times("submit") == 2


def test_a_refusal_of_the_second_time_proves_nothing() -> None:
    engine, clock = Engine(), Clock()
    jobs = Jobs(engine, clock)
    engine.error = LaunchFailed("full")
    with pytest.raises(LaunchFailed):
        jobs.submit(job())
    jobs.lost(job())
    clock.now += AGAIN_S
    jobs.turn()
    assert engine.times("submit") == 2


def test_an_end_is_asked_for_as_long_as_the_job_goes_on() -> None:
    engine, clock = Engine(), Clock()
    engine.jobs = {"one": JobReport(JobState.RUNNING)}
    jobs = Jobs(engine, clock)
    jobs.cancel("one", force=False)
    for _ in range(3):
        clock.now += AGAIN_S
        jobs.turn()
    assert engine.times("cancel") == 3
    jobs.cancel("one", force=True)
    jobs.cancel("one", force=False)
    clock.now += AGAIN_S
    jobs.turn()
    assert (engine.times("cancel"), engine.times("force")) == (3, 1)
    engine.jobs = {"one": JobReport(JobState.ENDED)}
    clock.now += AGAIN_S
    jobs.turn()
    assert engine.times("force") == 1


def test_an_address_is_believed_only_where_it_is_one(tmp_path: Path) -> None:
    run = FarRun(tmp_path)
    wrong: list[object] = [
        {},
        {"host": "a b", "port": 1},
        {"host": "h", "port": "1"},
        {"host": "h}"},
        [],
    ]
    for said in wrong:
        (tmp_path / "address").write_text(json.dumps(said))
        assert run.address() is None
    (tmp_path / "address").write_text('{"host": "10.0.0.5", "port": 8001}')
    found = run.address()
    assert found is not None
    assert (found.pinned, found.authority) == (True, "10.0.0.5:8001")


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        ("10.0.0.1:80", True),
        ("https://a.b@10.0.0.1:80", True),
        ("https://10.0.0.1:80", False),
        ("http://a.b@10.0.0.1:80", False),
        ("a.b@10.0.0.1:80", False),
        ("ftp://a.b@10.0.0.1:80", False),
    ],
)
def test_https_needs_the_name_of_its_certificate(text: str, usable: bool) -> None:
    address = Address.parse(text)
    assert address is not None
    assert address.usable is usable
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("text", ["https://a b@h:1", "https://A@h:1", "https://@h:1", "x@y@h:1"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert Address.parse(text) is None


def test_a_machine_finds_the_address_it_is_reached_by() -> None:
    assert hosts.own_address(["127.0.0.2"], "") == "127.0.0.2"
    # A name that leads to the loopback on the machine itself is no way for others.
    assert hosts.own_address(["localhost"], "") == ""
    assert hosts.own_address(["192.0.2.7", "nobody.invalid"], "") == ""
    assert hosts.own_address(["192.0.2.7"], "127.0.0.1") == ""
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        assert not hosts.is_free("127.0.0.2", port)
        assert hosts.is_free("127.0.0.3", port)


def test_only_an_earlier_boot_of_this_very_machine_is_over() -> None:
    me = {**hosts.machine(), "boot_id": "another", "host": "127.0.0.2"}
    assert hosts.was_here_before(me)
    for change in (
        {"hostname": "else"},
        {"machine": "else"},
        {"host": "192.0.2.7"},
        {"host": ""},
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"boot_id": None},
        {"boot_id": boot_id()},
    ):
        assert not hosts.was_here_before({**me, **change})
    now = {**me, "boot_id": boot_id()}
    assert hosts.is_here(now)
    assert not hosts.is_here({**now, "pids": "pid:[1]"})


def test_cards_nodes_are_the_same_for_both() -> None:
    assert handles.NODES == begin.DEVICE_NODES


def test_what_is_gone_is_removed_but_the_newest(tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    runs_dir.mkdir()
    for number, name in enumerate(("old", "new", "alive", "off")):
        folder = runs_dir / name
        folder.mkdir()
        (folder / "job").write_text("{}")
        os.utime(folder, (number, number))
    for name in ("old", "new"):
        (runs_dir / name / "gone").touch()
    os.utime(runs_dir / "old", (1, 1))
    assert FarRun(runs_dir / "off").call_off("stopped")
    os.utime(runs_dir / "off", (2, 2))
    assert sorted(pruned(KnownRuns(runs_dir), 1)) == ["off", "old"]
    assert sorted(path.name for path in runs_dir.iterdir()) == ["alive", "new"]


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=OLDEST)
    found = set()
    for one in ast.walk(tree):
        if isinstance(one, ast.Import):
            found |= {alias.name for alias in one.names}
        elif isinstance(one, ast.ImportFrom):
            found.add(one.module or "")
            found |= {f"{one.module}.{alias.name}" for alias in one.names}
    return found


def _program() -> dict[Path, set[str]]:
    """List the files of a node's program, each with what it imports."""
    root = Path(node.__file__).parents[3]
    pending, found = [Path(node.__file__)], dict[Path, set[str]]()
    while pending:
        path = pending.pop()
        if path in found:
            continue
        found[path] = _imports(path)
        for name in found[path]:
            if name.startswith(LIBRARY):
                module = root.joinpath(*name.split(".")).with_suffix(".py")
                pending += [module] if module.exists() else []
    return found


def test_the_program_of_a_node_needs_nothing_but_an_old_python() -> None:
    program = _program()
    assert len(program) > 10
    for path, names in program.items():
        for name in names:
            top = name.split(".")[0]
            assert top == LIBRARY or top in sys.stdlib_module_names, (path, name)
        # What 3.10 brought.
        text = path.read_text(encoding="utf-8")
        for word in ("strict=True", "strict=False", "match ", "slots=True", "kw_only"):
            assert word not in text, (path, word)


def test_it_says_what_is_missing(tmp_path: Path) -> None:
    words = [sys.executable, "-I", "-S", node.__file__, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == node.NO_JOB
    assert "is that storage shared?" in done.stderr
