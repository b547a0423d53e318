"""Sends one message; a program of its own, run by path.

    python -I sender.py <request.json

reads one JSON object (``url``, ``body``, ``headers``) and prints another: ``status`` and
``answer``, or ``problem``, a word. A process, because a name server or a receiver that is slow can
hold up whoever asks it for longer than any time limit of a library, and the manager serves
everybody from one thread. Proxies are taken from the environment (``https_proxy``, ``no_proxy``),
as by curl. Nothing of the address is ever printed, whatever goes wrong.
"""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import Any

import requests

CONNECT_S, READ_S = 5.0, 10.0
MOST_BYTES = 4096
"""Of an answer; those of the vendors have less than 200."""

AGENT = "comfyui-multi-user-manager"


def send(url: str, body: str, headers: dict[str, str]) -> dict[str, Any]:
    """Send it, once; a redirect is not followed: its target has not been chosen by anybody here."""
    try:
        with requests.post(
            url,
            data=body.encode(),
            headers={"User-Agent": AGENT, **headers},
            timeout=(CONNECT_S, READ_S),
            allow_redirects=False,
            stream=True,
        ) as response:
            answer = response.raw.read(MOST_BYTES, decode_content=True)
            return {"status": response.status_code, "answer": answer.decode("utf-8", "replace")}
    except requests.exceptions.ProxyError:
        return {"problem": "proxy"}
    except requests.exceptions.SSLError:
        return {"problem": "tls"}
    except requests.exceptions.Timeout:
        return {"problem": "timeout"}
    except requests.exceptions.ConnectionError:
        return {"problem": "connect"}
    except (requests.exceptions.RequestException, OSError, ValueError):
        return {"problem": "failed"}


def _say_nothing(
    _kind: type[BaseException], _error: BaseException, _trace: TracebackType | None
) -> None:
    """Take the place of a traceback, in which the address might stand."""


def main() -> None:
    """Read, send, print."""
    sys.excepthook = _say_nothing
    given = json.loads(sys.stdin.read())
    sys.stdout.write(json.dumps(send(given["url"], given["body"], given["headers"])))


if __name__ == "__main__":
    main()
