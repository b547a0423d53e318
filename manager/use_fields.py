"""The settings of what is served and how it is used: addresses, ComfyUI, ends, line and limits.

The first half of ``Settings``; see ``setting_fields``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from manager.setting_kinds import (
    Choice,
    Count,
    Email,
    Flags,
    Host,
    HttpsUrl,
    PathIn,
    Seconds,
    Text,
    Words,
    setting,
)

ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - a server's pages are for other machines


@dataclass(frozen=True)
class UseFields:
    """Who reaches what, when an instance ends, and who gets a card."""

    external_ip: str = setting(
        Host(empty=True),
        "",
        "Address put into workspace links. Empty: the name the visitor's browser used.",
    )
    comfyui_path: Path = setting(
        PathIn(),
        Path("/mnt/sdb1/ComfyUI"),
        "Folder with ComfyUI's main.py. Where there is none, the demo stands in.",
    )
    comfyui_python: str = setting(
        Text(),
        "",
        "Python that runs ComfyUI. Empty: venv or .venv inside COMFYUI_PATH, else python3.",
    )
    comfyui_args: tuple[str, ...] = setting(
        Flags(), (), "Extra flags for every ComfyUI, as on a command line."
    )
    manager_host: str = setting(Host(), ALL_ADDRESSES, "Address the manager's own page listens on.")
    manager_port: int = setting(Count(1, 65535), 8880, "Port of the manager's own page.")
    connections_per_address: int = setting(
        Count(0, 4096),
        512,
        "Connections to the manager's page that one address may have at once. 0: any number, for a "
        "proxy of your own in front, which then limits them.",
    )
    gate_host: str = setting(
        Host(), ALL_ADDRESSES, "Address the workspace and external ports listen on."
    )
    tls: str = setting(
        Choice("off", "internal", "files", "domain"),
        "off",
        "HTTPS for the manager's page and every gate, by Caddy. internal: certificates of an "
        "authority of its own, for EXTERNAL_IP; files: those of TLS_CERT and TLS_KEY; domain: "
        "one of a public authority (ACME), for the domain name that EXTERNAL_IP is then.",
    )
    tls_cert: Path = setting(
        PathIn(),
        Path("tls/cert.pem"),
        "With TLS files: certificate and those it rests on (PEM). A new one is taken by itself.",
    )
    tls_key: Path = setting(PathIn(), Path("tls/key.pem"), "With TLS files: its key (PEM).")
    tls_acme_ca: str = setting(
        HttpsUrl(),
        "",
        "With TLS domain: the authority's ACME directory. Empty: Let's Encrypt.",
    )
    tls_acme_root: Path = setting(
        PathIn(),
        Path("tls/acme_root.pem"),
        "With TLS domain, where there is this file: the root certificate to know TLS_ACME_CA by.",
    )
    tls_email: str = setting(
        Email(), "", "With TLS domain: where the authority writes to if something is wrong."
    )
    tls_http_port: int = setting(
        Count(1, 65535),
        80,
        "With TLS domain: where Caddy answers the authority by HTTP. It asks at port 80: another "
        "number is for one that 80 is forwarded to.",
    )
    tls_alpn_port: int = setting(
        Count(1, 65535), 443, "The same by TLS, where the authority asks at port 443."
    )
    tls_hsts: int = setting(
        Count(0, 63_072_000),
        0,
        "With TLS: how long browsers insist on HTTPS for this host's name, on all of its ports. "
        "0: one hour with internal, one day else.",
        "s",
    )
    idle_timeout: int = setting(
        Count(1, 604_800), 600, "Time without work after which an instance is ended.", "s"
    )
    idle_signals: tuple[str, ...] = setting(
        Words("workspace", "card"),
        ("workspace", "card"),
        "What counts as use beside the queue. workspace: somebody uploads, saves, looks at "
        "pictures or opens the page; card: it computes. An open tab alone does not count.",
    )
    idle_signals_max: int = setting(
        Count(0, 604_800),
        7200,
        "Time without work after which IDLE_SIGNALS no longer count. 0: they always do.",
        "s",
    )
    idle_warning: int = setting(
        Count(1, 100), 80, "Part of IDLE_TIMEOUT after which a user is warned. 100: never.", "%"
    )
    extend_by: int = setting(
        Count(0, 86_400), 1800, "Time that «I am still here» adds. 0: it is not offered.", "s"
    )
    extend_by_waiting: int = setting(
        Count(0, 86_400), 300, "The same while somebody waits in line for the card.", "s"
    )
    extend_most: int = setting(
        Count(0, 1000), 3, "How often a user may add that time in one session."
    )
    keep_awake_max: int = setting(
        Count(0, 604_800),
        14_400,
        "Time for which a user may announce work in one session, in all; so long nothing is ended "
        "for idleness. 0: it is not offered.",
        "s",
    )
    queue_check_interval: float = setting(
        Seconds(0.1, 60), 1.0, "Time between two looks at an instance's queue.", "s"
    )
    max_workers: int = setting(Count(2, 256), 8, "Queue checks under way at the same time.")
    start_timeout: int = setting(
        Count(1, 7200), 300, "Time a starting ComfyUI has until it must answer.", "s"
    )
    stop_timeout: float = setting(
        Seconds(0.1, 600), 5.0, "Time a ComfyUI has to end politely before it is killed.", "s"
    )
    hang_timeout: int = setting(
        Count(0, 86_400),
        120,
        "Time without an answer after which a running ComfyUI is shown as hung. 0: never.",
        "s",
    )
    hang_action: str = setting(
        Choice("show", "restart", "stop"),
        "show",
        "What is done with a hung ComfyUI whose processes do nothing; busy ones are left alone.",
    )
    restart_policy: str = setting(
        Choice("never", "on-crash"),
        "never",
        "Whether a ComfyUI that crashed is started again, at most 3 times in 30 minutes.",
    )
    line_start: str = setting(
        Choice("claim", "automatic"),
        "claim",
        "What happens when it is somebody's turn in the line. claim: a port is kept until he "
        "starts; automatic: his ComfyUI starts by itself.",
    )
    claim_timeout: int = setting(
        Count(5, 86_400),
        120,
        "Time a port is kept for whose turn it is; after that the next one in the line gets it.",
        "s",
    )
    line_ageing: int = setting(
        Count(1, 604_800),
        1800,
        "Time in the line that counts as much as one step of priority (low, normal, high).",
        "s",
    )
    sessions_at_once: int = setting(
        Count(0, 1),
        1,
        "ComfyUI that a user may have at the same time. 0: nobody may start one for now. An admin "
        "may set this and the next two for single users.",
    )
    day_limit: int = setting(
        Count(0, 86_400),
        0,
        "Time a user may hold cards on one day, by the server's own days. 0: no limit.",
        "s",
    )
    session_limit: int = setting(
        Count(0, 2_592_000),
        0,
        "Longest time of one session on a card. At a limit a ComfyUI is ended once its queue is "
        "empty. 0: no limit.",
        "s",
    )
    limit_grace: int = setting(
        Count(0, 604_800),
        0,
        "Time after a limit for which the workspace of a ComfyUI that still works stays open; then "
        "it is closed, so that nothing is added, and what is in the queue is finished. 0: it stays "
        "open as long as there is work.",
        "s",
    )
    quarantine_after: int = setting(
        Count(0, 3600),
        30,
        "Time a port or card may stay in use after its instance has ended, before the port is "
        "held back for an admin.",
        "s",
    )
