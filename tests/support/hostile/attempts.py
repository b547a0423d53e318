# mypy: ignore-errors
"""What code inside a ComfyUI may try against others. Standard library of Python 3.9 alone.

Each attempt gives nothing when it succeeded and raises ``OSError`` or ``Blocked`` when it did not.
Anything else that it raises is a mistake in here, reported as ``broken`` and never as a success of
whoever guards. None keeps, prints or returns what it found. Nothing here does lasting harm: files
that could be made are removed, and the only signal is SIGCONT, which a running process ignores.

    python attempts.py TARGETS REPORT     the same without a ComfyUI
"""

import errno
import glob
import json
import os
import signal
import socket
import subprocess
import sys
import time

SECRET_VARIABLE = "COMFYUI_MANAGER_SECRET_FILE"
HEADER = "X-ComfyUI-Manager-Secret"
PATIENCE_S = 20.0
NAMED_S = 1.0
SOCKET_ATTEMPT_S = 10.0


class Blocked(Exception):
    """What was tried did not work; the word says how."""


def run(targets, seen):
    """Try everything and give ``{"outcomes": {NAME: [WORD, WHY]}, "own_queue": STATUS}``."""
    outcomes = {}
    for name, attempt in ATTEMPTS.items():
        outcomes[name] = _try(attempt, targets)
    outcomes["see_cookies"] = _try(lambda _: _see_cookies(seen), targets)
    return {"outcomes": outcomes, "own_queue": own_queue(targets), "requests": len(seen)}


def _try(attempt, targets):
    try:
        attempt(targets)
    except Blocked as error:
        return ["blocked", str(error)]
    except OSError as error:
        return ["blocked", errno.errorcode.get(error.errno or 0, type(error).__name__)]
    except Exception as error:
        return ["broken", repr(error)]
    return ["succeeded", ""]


def _any(*ways):
    """Try several ways to the same end; the last one's failure stands for all."""
    last = Blocked("no way")
    for way in ways:
        try:
            way()
        except (Blocked, OSError) as error:
            last = error
        else:
            return
    raise last


def _need(condition, word):
    if not condition:
        raise Blocked(word)


def _read(path, size=4096):
    with open(path, "rb") as file:
        return file.read(size)


def _something(path):
    _need(_read(path), "EMPTY")


def _make_file(folder):
    path = os.path.join(folder, f"hostile-{os.getpid()}")
    with open(path, "x"):
        pass
    os.unlink(path)


# Files


def read_files(targets):
    _something(targets["victim_file"])


def list_folder(targets):
    _need(os.listdir(targets["victim_folder"]), "EMPTY")


def write_files(targets):
    _make_file(targets["victim_folder"])


def read_database(targets):
    _something(targets["database"])


def read_caddyfile(targets):
    _something(targets["caddyfile"])


def read_keys(targets):
    _any(*(lambda path=path: _something(path) for path in targets["keys"]))


def write_programs(targets):
    """Open a file for writing, or make one beside it, in the real folder and no image of it."""

    def change(path):
        with open(path, "r+b"):
            pass

    def add(path):
        _need(os.path.exists(path), "ENOENT")
        _make_file(os.path.dirname(path))

    ways = [
        lambda path=path, way=way: way(path)
        for path in targets["programs"]
        for way in (change, add)
    ]
    _any(*ways)


def read_tmp(targets):
    _something(targets["tmp_file"])


def shared_memory(port):
    return f"/dev/shm/comfyui-hostile-{port}"


def leave_shared_memory(port):
    """Do what every instance does here, so that there is something to be found."""
    file = os.open(shared_memory(port), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(file, b"x")
    os.close(file)


def read_shared_memory(targets):
    _something(shared_memory(targets["victim_port"]))


def change_kernel(targets):
    def setting():
        path = "/proc/sys/vm/swappiness"
        present = _read(path)
        with open(path, "wb") as file:
            file.write(present)

    def group(parent):
        made = os.path.join(parent, f"hostile-{os.getpid()}")
        os.mkdir(made)
        os.rmdir(made)

    groups = [path for path in glob.glob("/sys/fs/cgroup/*") if os.path.isdir(path)]
    _any(setting, *(lambda path=path: group(path) for path in ["/sys/fs/cgroup", *groups]))


# Processes


def _is_there(who):
    """Make sure that a number means in here what it means outside."""
    pid, ticks = who
    stat = _read(f"/proc/{pid}/stat")
    _need(int(stat.rpartition(b")")[2].split()[19]) == ticks, "ESRCH")
    return pid


def _memory(who):
    pid = _is_there(who)
    for line in _read(f"/proc/{pid}/maps", 1 << 20).decode().splitlines():
        span, mode = line.split()[:2]
        if mode.startswith("rw"):
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                memory.seek(int(span.split("-")[0], 16))
                _need(memory.read(16), "EMPTY")
            return
    raise Blocked("EMPTY")


def _look_into(whos):
    for who in whos:
        yield lambda who=who: _something(f"/proc/{_is_there(who)}/environ")
        yield lambda who=who: _memory(who)


def read_manager_process(targets):
    _any(*_look_into([targets["manager"], targets["caddy"]]))


def read_instance_process(targets):
    _any(*_look_into([targets["victim"]]))


def read_instance_secret(targets):
    def fits(path):
        _need(len(_read(path).strip()) >= 32, "EMPTY")

    _any(
        lambda: fits(targets["victim_secret"]),
        lambda: fits(f"/proc/{_is_there(targets['victim'])}/fd/3"),
    )


def _signal(*whos):
    _any(*(lambda who=who: os.kill(_is_there(who), signal.SIGCONT) for who in whos))


def signal_manager(targets):
    _signal(targets["manager"], targets["caddy"])


def signal_instance(targets):
    _signal(targets["victim"])


def signal_supervisor(targets):
    _signal(targets["supervisor"])


def see_processes(targets):
    word = str(targets["victim_port"]).encode()
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            words = _read(path, 65536).split(b"\0")
        except OSError:
            continue
        if b"--port" in words and word in words:
            return
    raise Blocked("ESRCH")


def gain_privileges(targets):
    """Run ``su``, which has the setuid bit and waits for input, and see what the kernel gave it."""

    def by_setuid():
        child = subprocess.Popen(
            ["su"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            until = time.monotonic() + PATIENCE_S
            while child.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
                status = dict(
                    line.split(":", 1)
                    for line in _read(f"/proc/{child.pid}/status").decode().splitlines()
                )
                if status["Name"].strip() == "su":
                    if status["Uid"].split()[1] == "0" and int(status["CapEff"], 16):
                        return
                    # A program has its name a moment before its rights.
                    until = min(until, time.monotonic() + NAMED_S)
            raise Blocked("EPERM")
        finally:
            child.stdin.close()
            child.wait()

    def by_mount():
        done = subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL)
        _need(done.returncode == 0, "EPERM")

    _any(by_setuid, by_mount)


HIDDEN = """
import fcntl, glob, os, sys, time
def leave(path):
    file = os.open(path, os.O_WRONLY)
    os.write(file, b"0")
def try_to(do, *words):
    try:
        do(*words)
    except OSError:
        pass
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
for path in glob.glob("/sys/fs/cgroup/**/cgroup.procs") + ["/sys/fs/cgroup/cgroup.procs"]:
    try_to(leave, path)
try_to(os.kill, int(sys.argv[2]), 9)
held = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(held, fcntl.LOCK_EX)
os.write(held, str(os.getpid()).encode())
os.write(1, b"!")
os.close(1)
time.sleep(600)
"""


def outlive_stop(targets):
    """Begin to hide, from all that would find it; the lock that is held shows whether it helps."""
    words = [sys.executable, "-I", "-S", "-c", HIDDEN]
    child = subprocess.Popen(
        [*words, targets["hidden_lock"], str(targets["supervisor"][0])],
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    begun = child.stdout.read(1)
    child.stdout.close()
    child.wait()
    _need(begun == b"!", "ECHILD")


# Ports and sockets


def _status(sock, lines):
    sock.settimeout(SOCKET_ATTEMPT_S)
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    return int(sock.recv(4096).split()[1])


def _ask(port, path, *headers):
    with socket.create_connection(("127.0.0.1", port), SOCKET_ATTEMPT_S) as sock:
        return _status(sock, [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers])


WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: aG9zdGlsZWhvc3RpbGVob3M=",
)


def _let_in(status):
    _need(status < 400, f"HTTP {status}")


def use_instance(targets):
    port = targets["victim_port"]
    _any(lambda: _let_in(_ask(port, "/queue")), lambda: _let_in(_ask(port, "/ws", *WEBSOCKET)))


def enter_gate(targets):
    ways = [
        lambda port=port, more=more: _let_in(_ask(port, targets["gate_path"], *more))
        for port in targets["gate_ports"]
        for more in ((), WEBSOCKET)
    ]
    _any(*ways)


def control_caddy(targets):
    origins = [None, "http://localhost", "http://127.0.0.1", "http://^nobody^"]
    for path in targets["keys"]:
        try:
            origins.append("http://" + _read(path).decode("ascii").strip())
        except (OSError, UnicodeDecodeError):
            continue
    _any(*(lambda origin=origin: _ask_caddy(targets["admin_socket"], origin) for origin in origins))


def _ask_caddy(path, origin):
    # By way of the folder's descriptor: the whole path may be too long for a socket's name.
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(SOCKET_ATTEMPT_S)
            sock.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
            more = [f"Origin: {origin}"] if origin else []
            _let_in(_status(sock, ["GET /config/ HTTP/1.1", "Host: x", *more]))
    finally:
        os.close(folder)


def _listen(port, *, beside=False):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if beside:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen()


def take_port(targets):
    _listen(targets["free_port"])


def share_gate_port(targets):
    _any(*(lambda port=port: _listen(port, beside=True) for port in targets["gate_ports"]))


def _see_cookies(seen):
    _need(seen & {"cookie", "authorization"}, "ABSENT")


def own_queue(targets):
    """Do what a harmless custom node may do: ask its own ComfyUI. Gives HTTP's number."""
    if SECRET_VARIABLE not in os.environ:
        return 0
    secret = _read(os.environ[SECRET_VARIABLE]).decode().strip()
    return _ask(int(sys.argv[sys.argv.index("--port") + 1]), "/queue", f"{HEADER}: {secret}")


ATTEMPTS = {
    attempt.__name__: attempt
    for attempt in (
        *(read_files, list_folder, write_files, read_database, read_caddyfile, read_keys),
        *(control_caddy, read_manager_process, read_instance_process, read_instance_secret),
        *(use_instance, enter_gate, signal_manager, signal_instance, signal_supervisor),
        *(write_programs, take_port, share_gate_port, see_processes, read_tmp),
        *(read_shared_memory, change_kernel, gain_privileges, outlive_stop),
    )
}

if __name__ == "__main__":
    with open(sys.argv[1]) as wanted:
        found = run(json.load(wanted), set())
    with open(sys.argv[2], "w") as report:
        json.dump(found, report)
