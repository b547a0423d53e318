"""Whether a ComfyUI that answers nobody is hung, or busy with something long.

Silence proves nothing: ComfyUI does not answer while a model loads or one long node runs. So two
looks at what its processes have done, some seconds apart, must show that nothing was done at all.
"""

from __future__ import annotations

from collections.abc import Callable

from manager.launcher.activity import Activity, quiet
from manager.launcher.protocol import Launcher
from manager.settings import Settings

QUIET_S = 10.0
"""Time in which a hung tree must have done nothing; HANG_TIMEOUT itself where that is shorter."""


class Hangs:
    """The first of the two looks at each silent launch."""

    def __init__(
        self, settings: Settings, launcher: Launcher, monotonic: Callable[[], float]
    ) -> None:
        """Bind; ``monotonic`` gives seconds that only pass."""
        self._timeout = settings.hang_timeout
        self._acts = settings.hang_action != "show" and settings.hang_timeout > 0
        self._launcher = launcher
        self._monotonic = monotonic
        self._looks: dict[str, tuple[float, Activity | None]] = {}

    def hung(self, launch_id: str, silent_seconds: float) -> bool:
        """Tell whether a launch that has been silent so long is to be ended for it.

        Called at each look without an answer. Never true with HANG_ACTION ``show``, where nothing
        is to be done, and never when it cannot be told what the processes did.
        """
        if not self._acts or silent_seconds < self._timeout:
            self.forget(launch_id)
            return False
        now = self._monotonic()
        at, before = self._looks.get(launch_id, (now, None))
        if before is not None and now - at < min(QUIET_S, self._timeout):
            return False
        after = self._launcher.activity(launch_id)
        self._looks[launch_id] = (now, after)
        return before is not None and after is not None and quiet(before, after, now - at)

    def forget(self, launch_id: str) -> None:
        """Drop what is kept of a launch that answered or ended."""
        self._looks.pop(launch_id, None)
