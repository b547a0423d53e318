"""Bubblewrap's command line from a plan, and what Landlock is asked for; nothing is confined."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from manager.launcher import confine, landlock, sandbox, supervisor
from manager.launcher.landlock import handled, is_below

LAUNCHER = Path(confine.__file__).parent


def box(**parts: Any) -> dict[str, Any]:
    return {"bwrap": "/opt/bwrap", "python": "/usr/bin/python3", "cwd": "/", **parts}


def command(**parts: Any) -> list[str]:
    return sandbox.command(box(**parts))


def mounts(**parts: Any) -> list[tuple[str, ...]]:
    """Give what is made of the file system, in order, without what every sandbox has."""
    words = command(**parts)
    words = words[words.index("--chdir") + 2 : words.index("--proc")]
    found, one = [], list[str]()
    for word in words:
        if word.startswith("--") and one:
            found.append(tuple(one))
            one = []
        one.append(word)
    own = {LAUNCHER.parent, LAUNCHER, *LAUNCHER.parents, LAUNCHER.parent / "__init__.py"}
    return [
        entry
        for entry in [*found, tuple(one)]
        if Path(entry[-1]) not in own
        and not Path(entry[-1]).is_relative_to(LAUNCHER)
        and entry[-1] not in {"/run", sandbox.NAME_SERVERS, os.path.realpath("/etc/resolv.conf")}
    ]


def below(tmp_path: Path, entries: list[tuple[str, ...]]) -> list[str]:
    """Say it in short, for what lies below the test's folder."""
    return [
        " ".join(word.replace(str(tmp_path), "~") for word in entry)
        for entry in entries
        if Path(entry[-1]).is_relative_to(tmp_path)
    ]


def made(tmp_path: Path, *paths: str) -> None:
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (tmp_path / path).mkdir(exist_ok=True)
        else:
            (tmp_path / path).touch()


def test_root_makes_no_user_namespace_and_others_do() -> None:
    words = command()
    assert words[0] == "/opt/bwrap"
    assert {"--unshare-pid", "--unshare-ipc", "--unshare-uts"} <= {*words}
    # Work must outlive a supervisor that is killed; what is left is found by the other layers.
    assert "--die-with-parent" not in words
    # The network stays: an instance is reached on 127.0.0.1. So do control groups.
    assert not {"--unshare-user", "--unshare-net", "--unshare-all", "--unshare-cgroup"} & {*words}
    assert "--unshare-user" in command(unprivileged=True)


def test_it_ends_in_the_program_that_does_the_rest() -> None:
    program = str(LAUNCHER / "confine.py")
    words = command(python="/opt/python3")
    assert words[words.index("--") + 1 :] == ["/opt/python3", "-I", "-S", "-B", program]
    for name in ("confine", "landlock", "privileges", "__init__"):
        path = str(LAUNCHER / f"{name}.py")
        assert ["--ro-bind-try", path, path] == words[words.index(path) - 1 : words.index(path) + 2]


def test_the_deepest_word_counts(tmp_path: Path) -> None:
    made(tmp_path, "app/code/", "app/data/users/7/ro/", "app/token", "app/data/key")
    entries = mounts(
        readable=[f"{tmp_path}/app", f"{tmp_path}/app/code", f"{tmp_path}/app/data/users/7/ro"],
        writable=[f"{tmp_path}/app/data/users/7"],
        hidden=[f"{tmp_path}/app/data", f"{tmp_path}/app/token", f"{tmp_path}/app/data/key"],
    )
    assert below(tmp_path, entries) == [
        "--dir ~",
        "--ro-bind-try ~/app ~/app",
        "--tmpfs ~/app/data",
        "--dir ~/app/data/users",
        "--bind ~/app/data/users/7 ~/app/data/users/7",
        "--ro-bind-try ~/app/data/users/7/ro ~/app/data/users/7/ro",
        "--ro-bind /dev/null ~/app/token",
    ]


def test_the_same_path_named_twice_is_hidden_before_writable_before_readable(
    tmp_path: Path,
) -> None:
    made(tmp_path, "a/", "b/")
    a, b = f"{tmp_path}/a", f"{tmp_path}/b"
    assert below(tmp_path, mounts(readable=[a], writable=[a])) == ["--dir ~", "--bind ~/a ~/a"]
    assert below(tmp_path, mounts(readable=[b], writable=[b], hidden=[b])) == []


def test_what_does_not_exist_or_is_not_seen_anyway_is_left_out(tmp_path: Path) -> None:
    made(tmp_path, "there/", "dark/")
    entries = mounts(
        readable=[f"{tmp_path}/there", f"{tmp_path}/never"],
        writable=[f"{tmp_path}/there/never"],
        hidden=[f"{tmp_path}/dark", f"{tmp_path}/there/nothing"],
    )
    assert below(tmp_path, entries) == ["--dir ~", "--ro-bind-try ~/there ~/there"]


def test_links_are_made_where_nothing_shows_them(tmp_path: Path) -> None:
    made(tmp_path, "disk/models/", "app/")
    (tmp_path / "data").symlink_to("other")
    (tmp_path / "other").symlink_to(tmp_path / "disk")
    (tmp_path / "app/models").symlink_to(tmp_path / "disk/models")
    entries = mounts(
        readable=[f"{tmp_path}/data/models", f"{tmp_path}/app", f"{tmp_path}/app/models"]
    )
    assert below(tmp_path, entries) == [
        "--dir ~",
        "--ro-bind-try ~/app ~/app",
        "--symlink other ~/data",
        "--dir ~/disk",
        "--ro-bind-try ~/disk/models ~/disk/models",
        "--symlink ~/disk ~/other",
    ]


def test_a_link_in_a_circle_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    entries = mounts(readable=[f"{tmp_path}/a/c"], writable=[f"{tmp_path}/b"])
    assert below(tmp_path, entries) == []


def test_what_a_user_put_in_the_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    made(tmp_path, "mine/", "yours/")
    (tmp_path / "mine/output").symlink_to(tmp_path / "yours")
    (tmp_path / "mine/temp").symlink_to("/etc/shadow")
    for part in ("readable", "writable"):
        parts = {"writable": [f"{tmp_path}/mine"], "readable": [f"{tmp_path}/mine"]}
        parts[part] = [*parts[part], f"{tmp_path}/mine/output", f"{tmp_path}/mine/temp"]
        entries = mounts(**parts)
        assert below(tmp_path, entries) == ["--dir ~", "--bind ~/mine ~/mine"]
        assert not any("shadow" in word for entry in entries for word in entry)


def test_proc_and_dev_are_always_own_ones() -> None:
    words = command(readable=["/proc", "/dev", "/dev/shm", "/proc/sys"], devices=["/dev/kmsg"])
    pairs = list(pairwise(words))
    assert [pair for pair in pairs if pair[1] in {"/proc", "/dev", "/dev/shm", "/proc/sys"}] == [
        ("--proc", "/proc"),
        ("--dev", "/dev"),
    ]
    assert words.index("--dev-bind-try") > words.index("--dev")
    at = words.index("--dev-bind-try")
    assert words[at : at + 3] == ["--dev-bind-try", "/dev/kmsg", "/dev/kmsg"]


def test_what_is_empty_cannot_be_filled(tmp_path: Path) -> None:
    made(tmp_path, "app/data/", "app/token")
    words = command(
        readable=[f"{tmp_path}/app"], hidden=[f"{tmp_path}/app/data", f"{tmp_path}/app/token"]
    )
    closed = [b for a, b in pairwise(words) if a == "--remount-ro"]
    assert closed == [f"{tmp_path}/app/data", "/"]
    assert words.index("--remount-ro") > max(
        number
        for number, word in enumerate(words)
        if word in {"--bind", "--ro-bind-try", "--tmpfs"}
    )


def test_the_whole_machine_can_be_shown_too(tmp_path: Path) -> None:
    words = command(readable=["/"], writable=[str(tmp_path)])
    at = words.index("--ro-bind-try")
    assert words[at : at + 5] == ["--ro-bind-try", "/", "/", "--tmpfs", "/run"]
    assert at == words.index("--chdir") + 2
    assert words.index("/tmp") < words.index(str(tmp_path))
    assert "--remount-ro" not in words


def test_only_the_sandboxs_own_directories_are_opened_to_all() -> None:
    assert sandbox.to_be_opened(box()) == ["/run", "/tmp", "/dev/shm"]
    assert sandbox.to_be_opened(box(readable=["/run"], writable=["/tmp"])) == ["/dev/shm"]


@pytest.mark.parametrize(
    ("path", "others", "below_them"),
    [
        ("/a/b", ["/a"], True),
        ("/a/b", ["/a/"], True),
        ("/ab", ["/a"], False),
        ("/a", ["/a"], False),
        ("/a", ["/"], True),
        ("/a", [], False),
    ],
)
def test_below_goes_by_whole_names(path: str, others: list[str], below_them: bool) -> None:
    assert is_below(path, others) is below_them


def test_rights_by_version_are_the_kernels() -> None:
    # From docs.kernel.org/userspace-api/landlock.html: each adds one, 4 and 6 none on files.
    counts = [bin(handled(version)).count("1") for version in range(1, 8)]
    assert counts == [13, 14, 15, 15, 16, 16, 16]
    assert landlock.TO_WRITE & landlock.MAKE_CHAR == 0
    assert landlock.TO_READ & landlock.WRITE_FILE == 0
    assert handled(7) == landlock.EVERYTHING


def test_the_supervisor_and_what_it_hears_use_the_same_words() -> None:
    assert supervisor.NOT_CONFINED == confine.NOT_CONFINED
    assert (supervisor.DONE, supervisor.DONE_WITHIN) == (confine.DONE, confine.DONE_WITHIN)
