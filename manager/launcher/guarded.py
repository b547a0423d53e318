"""What code inside one user's ComfyUI can and cannot do to others, at each level of isolation.

The one source for the admin page, the table in ``docs/security.md`` and the test that lets a
hostile custom node try each of these (``tests/integration/test_hostile.py``).
"""

from __future__ import annotations

from manager.launcher.isolation import DIRECTORIES, SANDBOX, USER

ATTEMPTS = (
    "read_files",
    "list_folder",
    "write_files",
    "read_database",
    "read_caddyfile",
    "read_keys",
    "control_caddy",
    "read_manager_process",
    "read_instance_process",
    "read_instance_secret",
    "use_instance",
    "enter_gate",
    "see_cookies",
    "signal_manager",
    "signal_instance",
    "signal_supervisor",
    "write_programs",
    "take_port",
    "share_gate_port",
    "see_processes",
    "read_tmp",
    "read_shared_memory",
    "change_kernel",
    "gain_privileges",
    "outlive_stop",
)
"""What is tried; each has a phrase ``guarded.NAME`` in the locales."""

COLUMNS = (
    (DIRECTORIES, 0, False),
    (DIRECTORIES, 0, True),
    (DIRECTORIES, 6, False),
    (DIRECTORIES, 6, True),
    (USER, 0, True),
    (USER, 6, True),
    (SANDBOX, 0, False),
    (SANDBOX, 0, True),
    (SANDBOX, 6, False),
    (SANDBOX, 6, True),
)
"""The combinations that exist: level, ABI of Landlock, whether the manager is root."""

LANDLOCK_PORTS, LANDLOCK_SIGNALS = 4, 6
"""From these ABIs on Landlock restricts listening on ports, and signals
(https://docs.kernel.org/userspace-api/landlock.html)."""

_OF_FILES = (
    *("read_files", "list_folder", "write_files", "read_database", "read_caddyfile", "read_keys"),
    *("control_caddy", "read_instance_process", "read_instance_secret", "write_programs"),
)
"""What anything that hides files, and with them the insides of processes, keeps from happening."""


def guarded(level: str, landlock: int, root: bool) -> dict[str, bool]:
    """Tell for each attempt whether it fails.

    Args:
        level: one of ``isolation.LEVELS``.
        landlock: ABI of Landlock, 0 where there is none.
        root: whether the manager runs as root.
    """
    account = root and level != DIRECTORIES
    walls = account or level == SANDBOX
    # Landlock also forbids to look into processes outside of its own domain.
    files = walls or landlock > 0
    signals = walls or landlock >= LANDLOCK_SIGNALS
    always = dict.fromkeys(ATTEMPTS, True)
    return always | {
        **dict.fromkeys(_OF_FILES, files),
        # An instance has no capabilities. A manager that is root has, and whoever has fewer than a
        # process may not look into it (ptrace(2), "Ptrace access mode checking").
        "read_manager_process": files or root,
        **dict.fromkeys(("signal_manager", "signal_instance", "signal_supervisor"), signals),
        "take_port": landlock >= LANDLOCK_PORTS,
        # SO_REUSEPORT lets only the same account listen beside Caddy (socket(7)).
        "share_gate_port": account or landlock >= LANDLOCK_PORTS,
        "see_processes": level == SANDBOX,
        "read_tmp": level == SANDBOX or landlock > 0,
        "read_shared_memory": walls,
        "change_kernel": files or not root,
        # Who can end its supervisor, leave its control groups and drop its marks is not found.
        "outlive_stop": signals,
    }
