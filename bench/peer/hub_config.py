"""JupyterHub's configuration; read by JupyterHub itself, in its own environment.

``BENCH_PLAN`` names a JSON file with what is chosen for this run.
"""

import json
import os
from pathlib import Path
from typing import Any

plan = json.loads(Path(os.environ["BENCH_PLAN"]).read_text(encoding="utf-8"))
folder = Path(plan["folder"])
c = get_config()  # type: ignore[name-defined]  # noqa: F821 - JupyterHub puts it there

c.JupyterHub.bind_url = plan["url"]
c.JupyterHub.hub_bind_url = plan["hub_url"]
c.JupyterHub.db_url = f"sqlite:///{folder}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = str(folder / "cookie_secret")
c.JupyterHub.pid_file = str(folder / "jupyterhub.pid")
c.ConfigurableHTTPProxy.api_url = plan["proxy_api"]
c.ConfigurableHTTPProxy.command = plan["proxy"]
c.ConfigurableHTTPProxy.auth_token = plan["token"]
c.ConfigurableHTTPProxy.pid_file = str(folder / "proxy.pid")
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = plan["password"]
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(folder / "homes" / "{username}")
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
c.Spawner.environment = {"BENCH_FOLDER": str(folder)}
# They answer within a second or two otherwise, too; here no start is to be refused.
c.JupyterHub.concurrent_spawn_limit = 0
services = [{"name": "bench", "api_token": plan["token"]}]
roles = [{"name": "bench", "scopes": ["admin:users", "admin:servers"], "services": ["bench"]}]
if plan["interval"]:
    c.JupyterHub.last_activity_interval = plan["interval"]
    c.Spawner.poll_interval = plan["interval"]
if plan["idle_limit"]:
    words = ["-m", "jupyterhub_idle_culler", f"--timeout={plan['idle_limit']}"]
    words.append(f"--cull-every={plan['interval']}")
    services.append({"name": "culler", "command": [plan["python"], *words]})
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    roles.append({"name": "culler", "scopes": scopes, "services": ["culler"]})
c.JupyterHub.services = services
c.JupyterHub.load_roles = roles


def wrapped(spawner: Any) -> None:  # noqa: ANN401 - a class of JupyterHub's
    """Put the wrapper before the user's own server, which knows nothing of JupyterHub."""
    port = str(plan["ports"][spawner.user.name])
    own = folder / "servers" / spawner.user.name
    own.mkdir(parents=True, exist_ok=True)
    ready = ["--ready-check-path", "/queue", "--ready-timeout", "120"]
    server = [plan["demo_python"], plan["demo"], "--port", port, "--base-directory", str(own)]
    spawner.cmd = [plan["wrapper"]]
    spawner.args = ["--destport", port, *ready, "--", *server, *plan["flags"]]


c.Spawner.pre_spawn_hook = wrapped
