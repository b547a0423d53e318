"""The demo's entry: started with ComfyUI's arguments, boots, listens on the port, answers.

Like the real one it listens only when it is up, notices a taken port only then (exit 1), dies of
SIGTERM at once and ends cleanly on SIGINT.
"""

from __future__ import annotations

import errno
import importlib.util
import logging
import socket
import ssl
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    # Run by path: nothing here may shadow a library. The package is named and not searched for,
    # since a confined instance may not list the folder above, which holds more than this.
    _folder = Path(__file__).resolve().parent
    sys.path.pop(0)
    _spec = importlib.util.spec_from_file_location(
        "demo", _folder / "__init__.py", submodule_search_locations=[str(_folder)]
    )
    if _spec is not None:
        sys.modules["demo"] = importlib.util.module_from_spec(_spec)

from demo import arguments

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer

    from demo.places import Places

logger = logging.getLogger("demo")

BOOT_S = 1.0
BACKLOG = 128
BOOT_LINES = (
    "** Demo: this is not ComfyUI. It stands in because COMFYUI_PATH has no main.py.",
    "Checkpoint files will always be loaded safely.",
    "Total VRAM 8192 MB, total RAM 8192 MB",
    "pytorch version: none (demo)",
    "Set vram state to: DISABLED",
    "Device: demo",
    "Python version: {python}",
    "ComfyUI version: demo",
    "Import times for custom nodes:",
    "   0.0 seconds: demo/studio.py",
)


def main(words: list[str]) -> int:
    """Run until told to stop."""
    options = arguments.parse(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # Flask comes with this: only now, so that a wrong flag is refused at once.
    from demo import faults

    faults.apply_at_start(options)
    try:
        boot(options)
        return serve(options)
    except KeyboardInterrupt:
        logger.info("\nStopped server")
        return 0


def boot(options: Namespace) -> None:
    """Take about as long, in small, as loading models' code takes; print what it prints."""
    seconds = 0.0 if options.demo_zero_boot else BOOT_S
    if options.demo_slow_start is not None:
        seconds = options.demo_slow_start
    for line in BOOT_LINES:
        logger.info(line.format(python=sys.version.split()[0]))
        time.sleep(seconds / len(BOOT_LINES))


def serve(options: Namespace) -> int:
    """Listen and answer.

    Returns:
        1 when the port is taken.
    """
    from demo import custom_node, faults
    from demo.places import Places

    places = Places(options)
    places.begin()
    if options.demo_custom_node is not None:
        custom_node.load(options.demo_custom_node)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((options.listen.split(",")[0], options.port))
        except OSError as error:
            logger.error("%s", bind_failure(options, error))  # noqa: TRY400 - one line is clearer
            return 1
        server = make_server(options, places, listener)
        listener.listen(BACKLOG)
        logger.info("Starting server\n")
        logger.info("To see the GUI go to: http://%s:%d", options.listen, options.port)
        if options.demo_crash_after is not None:
            faults.crash_after(options.demo_crash_after)
        try:
            server.serve_forever()
        finally:
            places.end()
    return 0


def bind_failure(options: Namespace, error: OSError) -> str:
    """Say why the port could not be had."""
    where = f"address {options.listen}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {options.port} is already in use on {where}. Please close the other program "
            "or use a different port with --port."
        )
    return f"Cannot listen on port {options.port}, {where}: {error.strerror}"


def make_server(options: Namespace, places: Places, listener: socket.socket) -> BaseWSGIServer:
    """Build the threaded server around the bound socket."""
    from werkzeug.serving import ThreadedWSGIServer

    from demo.server import create_app

    app = create_app(options, places)
    server = ThreadedWSGIServer(options.listen, options.port, app, fd=listener.fileno())
    if options.tls_keyfile and options.tls_certfile:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls_certfile, options.tls_keyfile)
        # Who connects and says nothing holds up his own thread alone.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        server.ssl_context = context
    return server


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
