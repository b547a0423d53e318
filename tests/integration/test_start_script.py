"""``start_manager.sh`` as an operator uses it, in a copy of this tree whose path has spaces.

One copy gets a real ``venv/`` for the whole module: making it is the first test's subject.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from manager.settings import ROOT
from tests.support.copies import Copy, Done, copy_tree, make_copy
from tests.support.ports import free_ports
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    folder = tmp_path_factory.mktemp("a b") / "my manager"
    copy_tree(folder)
    made = make_copy(folder)
    yield made
    made.call("stop")
    assert made.processes() == []


@pytest.fixture(scope="module")
def first(copy: Copy) -> Done:
    """The very first start, with nothing installed; the manager runs afterwards."""
    assert not (copy.folder / "venv").exists()
    return copy.call("start")


@pytest.fixture
def running(copy: Copy, first: Done) -> Copy:
    assert first.code == 0, first
    started = copy.call("start")
    assert started.code == 0, started
    return copy


@pytest.fixture
def stopped(copy: Copy, first: Done) -> Copy:
    assert first.code == 0, first
    ended = copy.call("stop")
    assert ended.code == 0, ended
    return copy


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def test_first_start_installs_everything_and_ends_with_the_page_answering(
    copy: Copy, first: Done
) -> None:
    assert first.code == 0, first
    assert answers(copy.manager_port)
    login = requests.get(f"http://127.0.0.1:{copy.manager_port}/login", timeout=5)
    assert login.status_code == 200
    assert f"127.0.0.1:{copy.manager_port}" in first.out
    assert "admin / admin123" in first.out
    assert "demo" in first.out


def test_gates_are_closed_after_the_first_start(running: Copy) -> None:
    answer = requests.get(f"http://127.0.0.1:{running.workspace_port}/", timeout=5)

    assert answer.status_code == 403


def test_second_start_says_it_runs_and_installs_nothing(running: Copy) -> None:
    before = running.status()["manager"]["pid"]

    again = running.call("start")

    assert again.code == 0
    assert "Already running" in again.out
    assert "Installing" not in again.out
    assert "admin123" not in again.out
    assert running.status()["manager"]["pid"] == before


def test_two_starts_at_once_make_one_manager(stopped: Copy) -> None:
    calls = [
        subprocess.Popen(
            [str(stopped.folder / "start_manager.sh"), "start"],
            env=stopped.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [call.communicate(timeout=120)[0] for call in calls]

    assert [call.returncode for call in calls] == [0, 0], outputs
    assert sum("Already running" in text for text in outputs) == 1
    assert len(stopped.servers()) == 1


def test_status_tells_manager_caddy_and_each_port(running: Copy) -> None:
    told = running.call("status")

    assert told.code == 0
    assert "manager: answers" in told.out
    assert "caddy: running" in told.out
    assert "(card 1): idle" in told.out


def test_stop_ends_manager_and_caddy_and_says_so(running: Copy) -> None:
    ended = running.call("stop")

    assert ended.code == 0, ended
    assert "stopped" in ended.out
    assert running.processes() == []
    assert not answers(running.manager_port)
    assert running.call("status").code == 3


def test_stop_twice_is_no_error(stopped: Copy) -> None:
    again = stopped.call("stop")

    assert again.code == 0
    assert "not running" in again.out


def test_restart_makes_a_new_manager_and_keeps_caddy(running: Copy) -> None:
    before = running.status()

    done = running.call("restart")

    after = running.status()
    assert done.code == 0, done
    assert answers(running.manager_port)
    assert after["manager"]["pid"] != before["manager"]["pid"]
    assert after["caddy"]["pid"] == before["caddy"]["pid"]


def test_sigterm_ends_the_manager_and_leaves_caddy_to_the_next(running: Copy) -> None:
    found = running.status()
    pid = found["manager"]["pid"]
    assert isinstance(pid, int)

    os.kill(pid, signal.SIGTERM)

    wait_until(lambda: not psutil.pid_exists(pid), 20, "the manager to end")
    assert running.call("status").code == 3
    assert running.status()["caddy"] == found["caddy"]


def test_second_manager_on_the_same_data_is_refused(running: Copy) -> None:
    other_port = free_ports(1)[0]
    second = subprocess.run(
        ["venv/bin/python", "comfyui_manager.py", "serve"],
        cwd=running.folder,
        env=running.env | {"MANAGER_PORT": str(other_port)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert second.returncode == 1
    assert "another manager" in second.stderr
    assert answers(running.manager_port)


@pytest.mark.parametrize(
    ("name", "value"),
    [("MANAGER_PORT", "banana"), ("IDLE_TIMEOUT", "0"), ("MANAGER_PROT", "8880")],
)
def test_bad_setting_refuses_with_its_name(stopped: Copy, name: str, value: str) -> None:
    refused = stopped.call("start", **{name: value})

    assert refused.code == 2
    assert name in refused.err
    assert "Starting" not in refused.out
    assert stopped.processes() == []


def test_port_taken_by_a_stranger_is_named_and_the_stranger_left_alone(stopped: Copy) -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", stopped.manager_port))
        stranger.listen()

        refused = stopped.call("start")

        assert refused.code == 1
        assert str(stopped.manager_port) in refused.err
        assert "MANAGER_PORT" in refused.err
        assert "No answer in time" not in refused.err, "it waited for the whole deadline"
        with socket.create_connection(("127.0.0.1", stopped.manager_port), 5):
            pass
    assert stopped.processes() == []


def test_works_through_a_symbolic_link_from_its_own_folder_too(
    running: Copy, tmp_path: Path
) -> None:
    link = tmp_path / "comfy"
    link.symlink_to(running.folder / "start_manager.sh")
    done = subprocess.run(
        [str(link), "status"], env=running.env, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert "manager: answers" in done.stdout
    assert running.call("status", cwd=str(running.folder)).code == 0


def test_nothing_of_the_manager_holds_the_caller_s_output(stopped: Copy) -> None:
    # `start | tee log` must end: communicate() returns only when nobody holds the pipes any more.
    done = stopped.call("start")

    assert done.code == 0


def test_started_used_backed_up_stopped_and_restored_without_any_network(
    stopped: Copy, tmp_path: Path
) -> None:
    words = [str(stopped.folder / "start_manager.sh"), str(stopped.manager_port), str(tmp_path)]
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.support.offline", *words],
        cwd=ROOT,
        env=stopped.env | {"PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done
    assert stopped.processes() == []


def test_what_comfyui_needs_is_only_shown_and_nothing_is_done_without_network(
    stopped: Copy, tmp_path: Path
) -> None:
    target = tmp_path / "ComfyUI here"
    shown = stopped.call("install-comfyui", "--kind", "cpu", COMFYUI_PATH=str(target))
    assert shown.code == 0, shown
    assert f"'{target}/venv/bin/python' -m pip install torch" in shown.out
    refused = stopped.call(
        "install-comfyui", "--yes", COMFYUI_PATH=str(target), https_proxy="http://127.0.0.1:9"
    )
    assert refused.code == 1
    assert "cannot be reached" in refused.err
    assert not target.exists()


def test_the_unit_names_this_folder(stopped: Copy) -> None:
    shown = stopped.call("install-service", "--print", "--user", "nobody")
    assert f"WorkingDirectory={stopped.folder}\n" in shown.out
    assert f'ExecStart="{stopped.folder}/venv/bin/python" comfyui_manager.py serve' in shown.out
    assert "\nUser=nobody\n" in shown.out


def test_the_log_is_read_by_port_and_from_the_caller_s_folder(
    stopped: Copy, tmp_path: Path
) -> None:
    log = stopped.folder / "manager.log"
    with log.open("a", encoding="utf-8") as file:
        file.write("x 端口 8001: one\nx 端口 80012: two\n")
    assert stopped.call("logs", "--port", "8001").out == "x 端口 8001: one\n"
    assert stopped.call("backup", "here.tar.gz", cwd=str(tmp_path)).code == 0
    assert (tmp_path / "here.tar.gz").exists()


@pytest.mark.parametrize("words", [[], ["nonsense"]])
def test_unknown_command_prints_how_to_use_it(copy: Copy, words: list[str]) -> None:
    done = copy.call(*words)

    assert done.code == 2
    assert "start_manager.sh status" in done.err


@pytest.fixture
def bare_tree(tmp_path: Path) -> Copy:
    """A copy in which nothing is installed, with only the shell's tools on PATH."""
    folder = tmp_path / "tree"
    copy_tree(folder)
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "env", "readlink", "dirname", "sed", "cat", "sha256sum", "flock", "id"):
        found = shutil.which(tool)
        assert found, tool
        (tools / tool).symlink_to(found)
    return Copy(folder, 0, 0, {"PATH": str(tools), "HOME": str(tmp_path)})


def test_no_python_says_what_to_install(bare_tree: Copy) -> None:
    done = bare_tree.call("start")

    assert done.code == 1
    assert "apt install python3" in done.err
    assert "dnf install" in done.err


def test_missing_venv_module_says_what_to_install(bare_tree: Copy) -> None:
    crippled = bare_tree.folder / "python-without-venv"
    crippled.write_text(
        '#!/bin/sh\ncase "$1" in -m) exit 1 ;; --version) echo Python 3.12.3 ;; esac\n'
    )
    crippled.chmod(0o755)

    done = bare_tree.call("start", PYTHON=str(crippled))

    assert done.code == 1
    assert "apt install python3-venv" in done.err


def test_failed_install_says_what_to_do_and_is_tried_again(bare_tree: Copy) -> None:
    python = bare_tree.folder / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        '#!/bin/sh\ncase "$*" in *manager.cli* | *" pip "*) echo no route >&2; exit 1 ;; esac\n'
    )
    python.chmod(0o755)

    for _ in range(2):
        done = bare_tree.call("start")

        assert done.code == 1
        assert "no route" in done.err
        assert "pip download" in done.err
    assert bare_tree.call("status").code == 3
    assert bare_tree.call("stop").code == 0


def test_a_package_that_is_not_the_one_that_was_tried_is_not_installed(bare_tree: Copy) -> None:
    other = f"annotated-types==0.8.0 --hash=sha256:{64 * '0'}\n"
    (bare_tree.folder / "requirements.lock").write_text(other)

    done = bare_tree.call("start", PYTHON=sys.executable)

    assert done.code == 1
    assert "use another index" in done.err
    installed = (bare_tree.folder / "venv").glob("lib/python3*/site-packages/annotated_types")
    assert list(installed) == []


def test_status_and_stop_before_the_first_start(bare_tree: Copy) -> None:
    assert bare_tree.call("status").code == 3
    assert bare_tree.call("stop").code == 0


def test_a_random_first_password_is_shown_once_and_kept_nowhere(stopped: Copy) -> None:
    other = {
        "FIRST_ADMIN_PASSWORD": "random",
        "DATA_DIR": "other data",
        "DATABASE_PATH": "other.db",
        "LOG_PATH": "other.log",
    }
    words = [*venv_python(stopped), "serve"]
    alone = subprocess.run(
        words, env=stopped.env | other, capture_output=True, text=True, timeout=120, check=False
    )
    assert alone.returncode == 2, "nobody is there to be shown it"
    assert "first-admin" in alone.stderr

    first = stopped.call("start", **other)
    assert first.code == 0, first
    try:
        password = first.out.split("First login: admin / ")[1].split()[0]
        again = stopped.call("start", **other)
        kept = [
            path
            for path in stopped.folder.rglob("*")
            if path.is_file() and not path.is_relative_to(stopped.folder / "venv")
            if password.encode() in path.read_bytes()
        ]
        with requests.Session() as session:
            session.headers["Origin"] = url = f"http://127.0.0.1:{stopped.manager_port}"
            page = session.get(f"{url}/login", timeout=30).text
            token = page.split('name="csrf-token" content="')[1].split('"')[0]
            form = {"username": "admin", "password": password, "csrf_token": token}
            answer = session.post(f"{url}/login", data=form, timeout=30)
    finally:
        ended = stopped.call("stop", **other)
    assert ended.code == 0, ended
    assert "admin123" not in first.out
    assert password not in again.out
    assert kept == []
    assert answer.url.endswith("/password"), "it is taken, and another one asked for"


def venv_python(copy: Copy) -> list[str]:
    return [str(copy.folder / "venv" / "bin" / "python"), str(copy.folder / "comfyui_manager.py")]
