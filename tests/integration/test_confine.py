"""A real supervisor and each way to confine what it starts, seen from within and from outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from manager.launcher import confine, landlock, supervisor
from tests.support.confined import (
    CASES,
    OWN_ACCOUNT,
    SANDBOXES,
    SECRET,
    UNPRIVILEGED,
    Case,
    Confined,
    confined,
    copy_of_the_manager,
)
from tests.support.launcher import TORTURE
from tests.support.ports import free_ports
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

TREE = 24
"""The torture tree keeps at least so many processes alive at once."""

LOOK = """
import json, os, resource, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
def tried(action):
    try:
        action()
    except OSError as error:
        return error.strerror
    return "done"
def told(path):
    with open(path) as file:
        return file.read()
facts = {
    "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
    "caps": [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
    "bounding": int(status["CapBnd"], 16), "no_new_privs": int(status["NoNewPrivs"]),
    "umask": os.umask(0o077), "cwd": os.getcwd(), "pwd": os.environ.get("PWD", os.getcwd()),
    "env": sorted(os.environ), "session": os.getsid(0) == os.getpid(),
    "ignored": int(status["SigIgn"], 16), "blocked": int(status["SigBlk"], 16),
    "files": [int(name) for name in os.listdir("/proc/self/fd")],
    "secret": [tried(lambda: told("/proc/self/fd/3")), told("/proc/self/fd/3"),
               told("/proc/self/fd/3"), tried(lambda: open("/proc/self/fd/3", "w"))],
    "shared": told("../shared/model"),
    "closed": tried(lambda: told("../shared/closed")),
    "spoil": tried(lambda: open("../shared/model", "a")),
    "write": tried(lambda: open("written", "w")),
    "memory": tried(lambda: open("/dev/shm/confined-test", "w")),
    "null": tried(lambda: open("/dev/null", "w")),
    "root": tried(lambda: os.setuid(0)),
    "nice": os.getpriority(os.PRIO_PROCESS, 0), "oom": int(told("/proc/self/oom_score_adj")),
    "limits": {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name))
               for name in ("NOFILE", "NPROC", "CORE")},
    "see": tried(lambda: told(sys.argv[1])),
    "supervisor": tried(lambda: os.kill(int(sys.argv[2]), 0)),
}
if os.path.exists("/dev/shm/confined-test"):
    os.remove("/dev/shm/confined-test")
print("facts", json.dumps(facts), flush=True)
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def seen_within(launch: Confined, path: str = "/etc/passwd") -> dict[str, Any]:
    launch.start("-c", LOOK, path, str(os.getpid()))
    assert launch.until_gone() == 0, launch.log()
    (line,) = [line for line in launch.log().splitlines() if line.startswith("facts ")]
    found = json.loads(line.removeprefix("facts "))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_who_and_where_a_program_is(case: Case) -> None:
    with confined(case) as launch:
        facts = seen_within(launch)
        assert facts["uid"] == facts["gid"] == [case.lives_as] * 3
        assert facts["groups"] == ([] if case.lives_as else os.getgroups())
        if case.drop:
            assert facts["caps"] == [0, 0, 0, 0]
            assert facts["no_new_privs"] == 1
            # Without root it may stay: no_new_privs makes nothing of it.
            assert facts["bounding"] == 0 or case.account is not None
        assert facts["umask"] == 0o077
        assert facts["cwd"] == facts["pwd"] == str(launch.home)
        expected = {"PATH", "COMFYUI_MANAGER_LAUNCH", "LC_CTYPE", *(["PWD"] * case.sandbox)}
        assert set(facts["env"]) <= expected
        assert facts["session"]
        # Python itself ignores SIGPIPE and SIGXFSZ.
        assert facts["ignored"] == 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
        assert facts["blocked"] == 0
        # 4 is the listing's own descriptor.
        assert facts["files"] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_a_program_can_reach(case: Case) -> None:
    with confined(case) as launch:
        (launch.folder / "outside").write_text("readable for everybody")
        facts = seen_within(launch, str(launch.folder / "outside"))
        kept = not case.drop
        assert facts["secret"][:3] == ["done", SECRET, SECRET]
        assert facts["secret"][3] == ("done" if kept else "Permission denied")
        assert facts["shared"] == "weights"
        assert facts["closed"] == ("done" if kept else "Permission denied")
        assert facts["write"] == facts["memory"] == facts["null"] == "done"
        free = kept or not (case.landlock or case.sandbox or case.uid)
        assert (facts["spoil"] == "done") == free
        if case.lives_as:
            assert facts["root"] in {"Operation not permitted", "Invalid argument"}
        confines = case.landlock or case.sandbox
        assert (facts["see"] == "done") != confines
        reached = facts["supervisor"]
        assert (reached == "done") == (not case.landlock and case.lives_as == 0)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_limits_hold_from_the_start(case: Case) -> None:
    limits = {"NOFILE": 321, "NPROC": 123, "CORE": 0}
    with confined(case, nice=7, oom_score_adj=654, limits=limits) as launch:
        facts = seen_within(launch)
        assert facts["nice"] == 7
        assert facts["oom"] == 654
        assert facts["limits"] == {name: [value, value] for name, value in limits.items()}


def test_limits_never_go_above_what_is_inherited() -> None:
    hard = confine_hard_limit()
    with confined(CASES["own account"], limits={"NOFILE": hard * 2}, nice=-5) as launch:
        facts = seen_within(launch)
        assert facts["limits"]["NOFILE"] == [hard, hard]
        assert facts["nice"] == os.getpriority(os.PRIO_PROCESS, 0)


def confine_hard_limit() -> int:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert hard != resource.RLIM_INFINITY
    return hard


def test_groups_are_entered_before_anything_else(tmp_path: Path) -> None:
    entered = tmp_path / "cgroup.procs"
    entered.touch()
    with confined(CASES["own account"], groups=[str(entered)]) as launch:
        launch.start("-c", "import os; print('I am', os.getpid(), flush=True)")
        assert launch.until_gone() == 0
        assert f"I am {entered.read_text()}\n" in launch.log()


@pytest.mark.parametrize("name", ["landlock", "own account, landlock"])
def test_only_ports_of_its_own_can_be_listened_on(name: str) -> None:
    own, other = free_ports(2)
    code = (
        "import socket\n"
        f"for port in ({own}, 0, {other}):\n"
        "    try:\n"
        "        socket.socket().bind(('127.0.0.1', port))\n"
        "        print(port, 'bound', flush=True)\n"
        "    except OSError as error:\n"
        "        print(port, error.strerror, flush=True)\n"
    )
    assert landlock.abi() >= 4
    with confined(CASES[name]) as launch:
        plan = launch.plan()
        plan["landlock"]["bind_ports"] = [own, 0]
        launch.start("-c", code, plan=json.dumps(plan))
        assert launch.until_gone() == 0
        assert launch.log() == f"{own} bound\n0 bound\n{other} Permission denied\n"


def test_a_link_in_a_writable_folder_opens_nothing_else(stack: ExitStack) -> None:
    """Whoever may write in a folder can put a link where another path of the plan leads."""
    for name in ("own account, landlock", "sandbox", "sandbox without root, landlock"):
        launch = stack.enter_context(confined(CASES[name]))
        other = launch.folder / "other"
        other.mkdir()
        other.chmod(0o777)
        (launch.home / "output").symlink_to(other)
        plan = launch.plan()
        for part in ("landlock", "sandbox"):
            if part in plan:
                plan[part]["writable"].append(str(launch.home / "output"))
                plan[part]["readable"].append(str(launch.home / "output"))
        code = "import os; print(os.listdir('.')); open('output/x', 'w')"
        launch.start("-c", code, plan=json.dumps(plan))
        assert launch.until_gone() == 1
        assert "['output']" in launch.log()
        assert list(other.iterdir()) == []


WALK = """
import json, os, sys
def look(path, depth):
    if os.path.islink(path):
        return "-> " + os.readlink(path)
    if not os.path.isdir(path):
        try:
            return open(path).read()
        except OSError as error:
            return error.strerror
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        return error.strerror
    return {name: look(path.rstrip("/") + "/" + name, depth - 1) for name in names} if depth else 0
facts = {"top": sorted(os.listdir("/")), "folder": look(sys.argv[1], 9), "run": os.listdir("/run"),
         "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
         "names": len(open("/etc/resolv.conf").read())}
def tried(path):
    try:
        open(path, "w").close()
        return "done"
    except OSError as error:
        return error.strerror
facts["write"] = {path: tried(path) for path in sys.argv[2:]}
print("facts", json.dumps(facts), flush=True)
"""


@pytest.mark.parametrize("name", ["sandbox", "sandbox without root"])
def test_a_sandbox_shows_the_given_paths_and_no_others(name: str) -> None:
    with confined(CASES[name]) as launch:
        folder = launch.folder
        for path in ("app/data/keys", "app/data/users/7", "elsewhere/real", "elsewhere/not"):
            (folder / path).mkdir(parents=True)
        (folder / "app/main.py").write_text("main")
        (folder / "app/token").write_text("token")
        (folder / "app/data/users/7/image").write_text("image")
        (folder / "link").symlink_to("elsewhere")
        (folder / "app/linked").symlink_to(folder / "elsewhere/real")
        (folder / "elsewhere/real/thing").write_text("thing")
        os.chown(folder / "app/data/users/7", CASES[name].lives_as, -1)
        plan = launch.plan()
        plan["sandbox"]["readable"] += [str(folder / "app"), str(folder / "link/real")]
        plan["sandbox"]["readable"] += [str(folder / "app/linked"), str(folder / "never was")]
        plan["sandbox"]["hidden"] = [str(folder / "app/data"), str(folder / "app/token")]
        plan["sandbox"]["hidden"] += [str(folder / "run"), str(folder / "app/nothing")]
        plan["sandbox"]["writable"] += [str(folder / "app/data/users/7")]
        files = ["app/new", "app/data/new", "app/data/users/7/new", "new", "elsewhere/real/new"]
        words = [str(folder / path) for path in files]
        launch.start("-c", WALK, str(folder), *words, "/new", "/tmp/new", plan=json.dumps(plan))
        assert launch.until_gone() == 0, launch.log()
        facts = json.loads(launch.log().partition("facts ")[2])
        shown = facts["folder"]
        # What is run to confine it, and nothing else of the manager.
        names = set(shown.pop("manager")["launcher"])
        assert names == {"__init__.py", "confine.py", "landlock.py", "privileges.py"}
        assert shown == {
            "app": {
                "data": {"users": {"7": {"image": "image"}}},
                "linked": f"-> {folder}/elsewhere/real",
                "main.py": "main",
                "token": "Permission denied",
            },
            "elsewhere": {"real": {"thing": "thing"}},
            "home": {},
            "link": "-> elsewhere",
            "shared": {"closed": "Permission denied", "model": "weights"},
        }
        system = {"bin", "dev", "etc", "lib", "lib64", "proc", "run", "tmp", "usr"}
        assert set(facts["top"]) <= system
        # Its init, itself, and nobody else on the machine.
        assert facts["processes"] == [1, 2]
        assert facts["names"] == len(Path("/etc/resolv.conf").read_text())
        # What was written below the own /tmp went there with the sandbox.
        assert [path for path in words if Path(path).exists()] == [words[2]]
        said = facts["write"]
        assert [said[words[0]], said[words[1]], said["/new"]] == ["Read-only file system"] * 3
        assert said["/tmp/new"] == "done"
        assert not Path("/tmp/new").exists()


def test_device_nodes_of_a_sandbox_are_the_given_ones() -> None:
    code = "import os; print([os.path.exists(p) for p in ('/dev/full', '/dev/kmsg', '/dev/fuse')])"
    with confined(CASES["sandbox"]) as launch:
        plan = launch.plan()
        plan["sandbox"]["devices"] = ["/dev/kmsg", "/dev/never-was"]
        launch.start("-c", code, plan=json.dumps(plan))
        assert launch.until_gone() == 0
        assert launch.log() == f"[True, {Path('/dev/kmsg').exists()}, False]\n"


def test_a_kernel_without_memfd_hands_the_secret_over_too(stack: ExitStack) -> None:
    for name in ("own account", "sandbox", "sandbox without root"):
        launch = stack.enter_context(confined(CASES[name]))
        shutil.rmtree(launch.folder / "manager")
        copy_of_the_manager(launch.folder)
        program = launch.folder / "manager/launcher/confine.py"
        text = program.read_text()
        program.write_text(text.replace("import sys\n", "import sys\ndel os.memfd_create\n", 1))
        assert seen_within(launch)["secret"][:2] == ["done", SECRET]
        assert not (launch.run.path / "held").exists()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("code", [0, 3, 255])
def test_exit_codes_come_through(case: Case, code: int) -> None:
    with confined(case) as launch:
        launch.start("-c", f"import sys; print('words', flush=True); sys.exit({code})")
        assert launch.until_gone() == code
        assert launch.log() == "words\n"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_program_that_cannot_be_run_is_not_one_that_cannot_be_confined(case: Case) -> None:
    with confined(case) as launch:
        launch.start(program="/usr/bin/never-was")
        assert launch.until_gone() == supervisor.NO_EXEC
        said = "[supervisor] cannot run /usr/bin/never-was: No such file or directory\n"
        assert launch.log() == said


@pytest.mark.parametrize("name", ["sandbox", "sandbox without root"])
def test_a_directory_that_all_share_stays_as_it_was(name: str) -> None:
    with confined(CASES[name]) as launch:
        plan = launch.plan()
        plan["sandbox"]["readable"] += ["/tmp", "/run"]
        before = [Path(path).stat().st_mode for path in ("/tmp", "/run")]
        launch.start("-c", "import os; print(len(os.listdir('/tmp')) > 0)", plan=json.dumps(plan))
        assert launch.until_gone() == 0
        assert launch.log() == "True\n"
        assert [Path(path).stat().st_mode for path in ("/tmp", "/run")] == before


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_signals_come_through(case: Case, number: signal.Signals) -> None:
    with confined(case, limits={"CORE": 0}) as launch:
        launch.start("-c", f"import os; os.kill(os.getpid(), {number:d})")
        assert launch.until_gone() == -number


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_program_itself_is_asked_to_end(case: Case) -> None:
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    open('ended', 'w').close()\n"
        "    sys.exit(4)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    with confined(case) as launch:
        launch.start("-c", code)
        launch.until("ready")
        main = launch.identity()
        words = Path(f"/proc/{main.pid}/cmdline").read_bytes().split(b"\0")
        assert words[1:3] == [b"-c", code.encode()]
        os.kill(main.pid, signal.SIGSTOP)
        launch.signal(signal.SIGTERM)
        assert launch.until_gone() == 4
        assert (launch.home / "ended").exists()
        assert launch.processes() == []


def torture(launch: Confined, *words: str) -> None:
    script = launch.folder / "shared" / "torture.py"
    shutil.copy(TORTURE, script)
    script.chmod(0o644)
    launch.start(str(script), str(launch.home / "pids"), *words)
    launch.until("ready")
    if "--calm" not in words:
        wait_until(lambda: len(launch.processes()) >= TREE, what="the whole tree")
        launch.look_around()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_nothing_is_left_of_a_tree_that_tries_to_stay(case: Case, number: signal.Signals) -> None:
    with confined(case) as launch:
        torture(launch)
        launch.signal(number)
        code = launch.until_gone()
        assert launch.processes() == []
        assert launch.run.gone()
        assert code == -(signal.SIGKILL if number == signal.SIGUSR1 else number)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_nothing_is_left_of_a_tree_whose_program_crashes(case: Case) -> None:
    with confined(case) as launch:
        torture(launch, "--stay", "1", "--exit-code", "3")
        assert launch.until_gone() == 3
        assert launch.processes() == []


@pytest.mark.parametrize("case", SANDBOXES.values(), ids=SANDBOXES)
@pytest.mark.parametrize("who", ["sandbox", "init"])
def test_nothing_is_left_of_a_sandbox_when_a_part_of_it_is_killed(case: Case, who: str) -> None:
    with confined(case) as launch:
        torture(launch)
        (outer,) = children_of(launch.process.pid)
        victims = {"sandbox": outer, "init": children_of(outer)[0]}
        os.kill(victims[who], signal.SIGKILL)
        launch.until_gone()
        wait_until(lambda: launch.processes() == [], what="nobody left")


@pytest.mark.parametrize("case", SANDBOXES.values(), ids=SANDBOXES)
def test_a_sandbox_goes_on_without_its_supervisor_and_ends_with_its_init(case: Case) -> None:
    with confined(case) as launch:
        torture(launch, "--calm")
        (outer,) = children_of(launch.process.pid)
        init = children_of(outer)[0]
        os.kill(launch.process.pid, signal.SIGKILL)
        launch.process.wait()
        assert {outer, init} <= set(launch.processes())
        os.kill(init, signal.SIGKILL)
        wait_until(lambda: launch.processes() == [], what="nobody left")


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


ROOTLESS = Case(account=UNPRIVILEGED)
BAD_PLANS = {
    "no bubblewrap": (
        CASES["sandbox"],
        {"sandbox": {"bwrap": "/usr/bin/never-was", "python": "python3"}},
        "there is no bubblewrap at /usr/bin/never-was",
    ),
    "bubblewrap that fails": (
        CASES["sandbox"],
        {"sandbox": {"bwrap": "/usr/bin/false", "python": "python3"}},
        "it ended before that",
    ),
    "no Python within": (
        CASES["sandbox"],
        {"sandbox": {"bwrap": "/usr/bin/bwrap", "python": "/never/was", "readable": ["/usr"]}},
        "bwrap: execvp /never/was: No such file or directory",
    ),
    "an account that cannot be had": (
        ROOTLESS,
        {"uid": OWN_ACCOUNT},
        f"the account {OWN_ACCOUNT} cannot be taken: Operation not permitted",
    ),
    "an account that cannot be had within": (
        CASES["sandbox without root"],
        {"uid": OWN_ACCOUNT},
        f"the account {OWN_ACCOUNT} cannot be taken: Operation not permitted",
    ),
    "a group that is not there": (
        CASES["own account"],
        {"groups": ["/never/was/cgroup.procs"]},
        "the group /never/was/cgroup.procs cannot be entered: No such file or directory",
    ),
    "a group that is not ours": (
        ROOTLESS,
        {"groups": ["/etc/hostname"]},
        "the group /etc/hostname cannot be entered: Permission denied",
    ),
    "an unknown limit": (
        CASES["own account"],
        {"limits": {"NEVER_WAS": 1}},
        "the plan of its isolation is broken: ",
    ),
    "a plan that is wrong": (CASES["sandbox"], {"sandbox": {}}, "the plan of its isolation is"),
    "wrong within": (CASES["sandbox"], {"gids": "all"}, "the plan of its isolation is broken: "),
}


def _refuses(launch: Confined, sentence: str, plan: str | None = None) -> None:
    launch.start("-c", "open('ran', 'w')", plan=plan)
    assert launch.until_gone() == confine.NOT_CONFINED
    said = launch.log().splitlines()[-1]
    assert said.startswith("[supervisor] nothing was started, it could not be confined: ")
    assert sentence in said
    assert not (launch.home / "ran").exists()
    assert launch.run.gone()
    assert launch.processes() == []


@pytest.mark.parametrize(("case", "changes", "sentence"), BAD_PLANS.values(), ids=BAD_PLANS)
def test_what_cannot_be_confined_is_not_run(
    case: Case, changes: dict[str, Any], sentence: str
) -> None:
    with confined(case, **changes) as launch:
        _refuses(launch, sentence)


@pytest.mark.parametrize("text", ["", "{", "[]", '"no"'])
def test_a_plan_that_is_none_is_not_passed_over(text: str) -> None:
    with confined(CASES["nothing"]) as launch:
        _refuses(launch, "the plan of its isolation", plan=text)


def test_a_folder_that_is_closed_is_not_entered() -> None:
    with confined(CASES["sandbox"]) as launch:
        launch.home.chmod(0o000)
        _refuses(launch, f"its folder {launch.home} cannot be entered: Permission denied")


def test_a_secret_that_is_missing_is_not_passed_over() -> None:
    with confined(CASES["own account"]) as launch:
        launch.run.secret = launch.run.path / "elsewhere"
        _refuses(launch, "its secret cannot be handed over: No such file or directory")


@pytest.mark.parametrize("name", ["landlock", "sandbox, landlock"])
def test_a_kernel_without_landlock_is_not_passed_over(name: str) -> None:
    with confined(CASES[name]) as launch:
        shutil.rmtree(launch.folder / "manager")
        copy_of_the_manager(launch.folder, landlock="def abi(): return 0")
        _refuses(launch, "Landlock's rules cannot be made: this kernel does not offer it")


def test_capabilities_that_stay_are_noticed() -> None:
    with confined(CASES["own account"]) as launch:
        shutil.rmtree(launch.folder / "manager")
        copy_of_the_manager(launch.folder, privileges="def clear_capabilities(): pass")
        _refuses(launch, "the kernel says that this did not work: CapPrm, CapEff")


def test_nothing_is_run_by_a_supervisor_that_ends_before_it_says_so() -> None:
    """Confined or not: without somebody above it a program would be nobody's."""
    with confined(CASES["own account"]) as launch:
        shutil.rmtree(launch.folder / "manager")
        pause = (
            "def read_plan(_):\n    import time\n    print('waits', flush=True)\n    time.sleep(1)"
        )
        copy_of_the_manager(launch.folder)
        path = launch.folder / "manager/launcher/confine.py"
        text, _, rest = path.read_text().partition('\nif __name__ == "__main__":')
        assert rest
        path.write_text(f"{text}\n{pause}\n    return {{}}\n")
        launch.start("-c", "open('ran', 'w')")
        launch.until("waits")
        left = launch.processes()
        launch.process.kill()
        launch.process.wait()
        wait_until(lambda: not set(left) & set(launch.processes()), what="its fork ended")
        assert not (launch.home / "ran").exists()
