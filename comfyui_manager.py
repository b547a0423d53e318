"""The entry of ComfyUI Multi-User Manager: settings, the runtime's patch, then the command."""

import os
import sys

from manager import runtime, settings
from manager.errors import SettingsError

FOREGROUND_COMMANDS: tuple[list[str], ...] = ([], ["serve"])


def main(arguments: list[str]) -> int:
    """Run one of the operator's commands and give its exit code."""
    # What this program writes is for its own account, unless it says otherwise.
    os.umask(0o077)
    try:
        in_force = settings.load()
    except SettingsError as error:
        print(f"comfyui-manager: {error}", file=sys.stderr)  # noqa: T201 - nothing else runs yet
        return 2
    runtime.setup(in_force.async_mode if arguments in FOREGROUND_COMMANDS else "threading")

    # After the patch: everything below imports sockets and threads.
    from manager.cli import main as run_command

    return run_command(in_force, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
