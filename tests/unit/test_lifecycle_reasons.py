"""Why something ended, from what it printed and how; and what is not taken for the cause."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.errors import LaunchFailed, WorkspaceFailed
from manager.launcher import memory
from manager.launcher.activity import Activity, measure, quiet
from manager.launcher.memory import Memory, count_kills, counters
from manager.lifecycle import reasons
from manager.lifecycle.reasons import KINDS, LINE_LIMIT, Reason, of_exit, of_refusal, signal_name

TRACEBACK = """Traceback (most recent call last):
  File "/opt/ComfyUI/main.py", line 132, in <module>
    import execution
  File "/opt/ComfyUI/execution.py", line 14, in <module>
    import nodes
"""
CUDA = "AssertionError: Torch not compiled with CUDA enabled"
USAGE = "usage: main.py [-h] [--port PORT]\nmain.py: error: unrecognized arguments: --no-such-flag"
CHAINED = f"""{TRACEBACK}KeyError: 'npu'

During handling of the above exception, another exception occurred:

{TRACEBACK}torch.cuda.DeferredCudaCallError: CUDA call failed lazily
with error: device >= 0
"""


def why(code: int | None, output: str, *, oom: bool = False) -> tuple[str, str]:
    found = of_exit(code, output, oom_killed=oom)
    return found.kind, found.line


@pytest.mark.parametrize(
    ("code", "output", "kind", "line"),
    [
        (1, f"{TRACEBACK}{CUDA}\n", "no_accelerator", CUDA),
        (1, f"{TRACEBACK}ModuleNotFoundError: No module named 'av'", "python_error", None),
        (3, f"{TRACEBACK}RuntimeError: demo failure\n", "python_error", None),
        (1, f"{TRACEBACK}KeyboardInterrupt", "python_error", "KeyboardInterrupt"),
        (1, CHAINED, "python_error", "torch.cuda.DeferredCudaCallError: CUDA call failed lazily"),
        (1, f"{TRACEBACK}PermissionError: [Errno 13] Permission denied: '/x'", "permission", None),
        (1, f"{TRACEBACK}OSError: [Errno 28] No space left on device", "disk_full", None),
        (1, f"{TRACEBACK}OSError: [Errno 98] address already in use", "port_taken", None),
        (1, "Port 8001 is already in use on address 127.0.0.1.", "port_taken", None),
        (1, f"{TRACEBACK}MemoryError", "out_of_memory", "MemoryError"),
        (1, f"{TRACEBACK}torch.OutOfMemoryError: NPU out of memory.", "out_of_memory", None),
        (2, USAGE, "bad_flag", "main.py: error: unrecognized arguments: --no-such-flag"),
        (2, "gave up", "exit_code", "gave up"),
        (7, "", "exit_code", ""),
        (0, "Stopped server", "exit_code", "Stopped server"),
        (-11, "x\nFatal Python error: Segmentation fault\n\nThread 1:", "signal", None),
        (-9, f"{TRACEBACK}{CUDA}", "signal", ""),
        (139, "loading", "signal", ""),
        (None, "loading", "unseen", ""),
        (None, "[manager] nothing was started: no subreaper", "refused", None),
        (127, "[supervisor] cannot run python: No such file or directory", "refused", None),
        (77, "loading\n[supervisor] not confined: Permission denied", "refused", None),
        (77, "gave up", "exit_code", "gave up"),
        (None, "[supervisor] no record: No space left on device\n[manager] free", "disk_full", ""),
    ],
)
def test_the_kind_and_the_line_that_matters(
    code: int | None, output: str, kind: str, line: str | None
) -> None:
    found = why(code, output)
    assert found[0] == kind
    if line is None:
        assert found[1]
        assert found[1] in output
    elif kind != "disk_full":
        assert found[1] == line


def test_an_old_traceback_is_not_taken_for_the_cause() -> None:
    # A custom node failed to load long ago; then it worked, and then it ended.
    later = "\n".join(f"Prompt executed in {n} seconds" for n in range(20))
    assert why(1, f"{TRACEBACK}{CUDA}\n{later}") == ("exit_code", "Prompt executed in 19 seconds")


def test_only_a_kill_that_the_kernel_counted_is_out_of_memory() -> None:
    assert why(-9, "loading", oom=True) == ("out_of_memory", "")
    assert why(137, "loading", oom=True)[0] == "out_of_memory"
    assert why(-9, "loading", oom=False)[0] == "signal"
    # Something else was killed in the group, this one ended otherwise.
    assert why(-11, "loading", oom=True)[0] == "signal"
    assert why(1, f"{TRACEBACK}ValueError: x", oom=True)[0] == "python_error"


@given(st.none() | st.integers(-70, 300), st.text(max_size=400), st.booleans())
def test_anything_gives_a_known_kind_and_a_short_line(
    code: int | None, output: str, oom: bool
) -> None:
    found = of_exit(code, output, oom_killed=oom)
    assert found.kind in KINDS
    assert "\n" not in found.line
    assert len(str(found.columns()["fault_line"] or "")) <= LINE_LIMIT


@pytest.mark.parametrize(
    ("code", "name"),
    [(-9, "SIGKILL"), (139, "SIGSEGV"), (1, ""), (None, ""), (-99, "99"), (255, "")],
)
def test_signals_have_names(code: int | None, name: str) -> None:
    assert signal_name(code) == name


def _caused(number: int) -> Exception:
    error = WorkspaceFailed("the folder cannot be made")
    error.__cause__ = OSError(number, "x")
    return error


def test_a_refusal_is_told_by_its_cause() -> None:
    assert of_refusal(_caused(errno.ENOSPC)).kind == "disk_full"
    assert of_refusal(_caused(errno.EACCES)).kind == "permission"
    assert of_refusal(_caused(errno.ELOOP)) == Reason("refused", "the folder cannot be made")
    assert of_refusal(LaunchFailed("taken", reason=reasons.PORT_TAKEN)).kind == "port_taken"
    assert of_refusal(LaunchFailed("there is no program x")).kind == "refused"


def test_the_kernels_counter_is_found_in_each_of_its_files() -> None:
    assert count_kills("low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n") == 1
    assert count_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n") == 4
    assert count_kills("pgfault 9\noom_kill 17\n") == 17
    assert count_kills("oom_kill_disable 0\nunder_oom 0\n") is None


def test_the_nearest_counter_comes_first(tmp_path: Path) -> None:
    v2 = counters("0::/system.slice/m.service/one\n", tmp_path)
    assert v2[:2] == [
        tmp_path / "system.slice/m.service/one/memory.events",
        tmp_path / "system.slice/m.service/memory.events",
    ]
    v1 = counters("9:name=systemd:/x\n4:memory:/a/b\n3:cpu,cpuacct:/\n0::/\n", tmp_path)
    assert v1[:-1] == [tmp_path / "memory/a/b/memory.oom_control"]
    assert counters("0::/\n", tmp_path)[0].name == "vmstat"


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process 7 in a group ``one``, on a machine that has killed before."""
    (tmp_path / "proc" / "7").mkdir(parents=True)
    (tmp_path / "proc" / "7" / "cgroup").write_text("0::/one\n")
    (tmp_path / "groups" / "one").mkdir(parents=True)
    for name in ("one/memory.events", "memory.events"):
        (tmp_path / "groups" / name).write_text("oom_kill 5\n")
    real = counters
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "counters", lambda text: real(text, tmp_path / "groups"))
    return tmp_path / "groups" / "one"


def test_a_kill_is_seen_though_the_last_look_had_it_already(group: Path) -> None:
    witness = Memory()
    witness.look("a", 7, 0.0)
    assert not witness.killed("a")
    (group / "memory.events").write_text("oom_kill 6\n")
    witness.look("a", 7, 1.0)
    assert witness.killed("a")
    # Whoever lives on a look later was not meant.
    witness.look("a", 7, 2.0)
    assert not witness.killed("a")


def test_a_group_that_went_with_its_process_is_told_by_its_parent(group: Path) -> None:
    witness = Memory()
    witness.look("a", 7, 0.0)
    (group / "memory.events").unlink()
    group.rmdir()
    (group.parent / "memory.events").write_text("oom_kill 6\n")
    assert witness.killed("a")
    witness.forget("a")
    assert not witness.killed("a")


def test_what_was_never_looked_at_was_not_killed(group: Path) -> None:
    assert not Memory().killed("a")
    witness = Memory()
    witness.look("a", 99, 0.0)
    assert not witness.killed("a")


STILL = Activity(100.0, 5000, False, frozenset({7, 8}))


@pytest.mark.parametrize(
    ("after", "is_quiet"),
    [
        (STILL, True),
        (Activity(100.09, 5000, False, frozenset({7, 8})), True),
        (Activity(100.11, 5000, False, frozenset({7, 8})), False),
        (Activity(100.0, 5001, False, frozenset({7, 8})), False),
        (Activity(100.0, 5000, True, frozenset({7, 8})), False),
        (Activity(60.0, 5000, False, frozenset({7})), False),
    ],
)
def test_only_a_tree_that_did_nothing_at_all_is_quiet(after: Activity, is_quiet: bool) -> None:
    assert quiet(STILL, after, 10.0) is is_quiet


def test_a_processs_own_doing_is_measured(tmp_path: Path) -> None:
    import os

    before = measure([os.getpid()])
    (tmp_path / "file").write_bytes(b"x" * 1000)
    after = measure([os.getpid(), 2**22 + 1])
    assert after.pids == before.pids == {os.getpid()}
    assert after.moved_bytes >= before.moved_bytes + 1000
    assert after.cpu_seconds >= before.cpu_seconds > 0
