"""What a script in a page of a workspace tries against the manager's pages and other workspaces.

Each attempt is the body of an async function in the page; ``manager`` and ``other`` are the origins
it is after, ``user`` an account's id. It gives true if it got at something, and throws or gives
false if not. What it changed without being told, the test looks for itself.
"""

from __future__ import annotations

FORM = """
const send = (action, enctype, fields) => new Promise((done) => {
  const frame = document.createElement("iframe");
  frame.name = `f${Math.random()}`;
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action, enctype, target: frame.name });
  for (const [name, value] of Object.entries(fields)) {
    const field = document.createElement("input");
    Object.assign(field, { name, value });
    form.append(field);
  }
  document.body.append(frame, form);
  frame.addEventListener("load", () => done());
  form.submit();
  setTimeout(done, 1500);
});
"""
OPEN = """
const opened = (address) => new Promise((done) => {
  const page = window.open(address);
  setTimeout(() => done(page), 1000);
});
"""
ENCTYPES = '["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]'

ATTEMPTS: dict[str, str] = {
    "read the manager's pages and API with fetch": """
      for (const path of ["/", "/admin", "/api/user/state", "/api/admin/overview", "/login"])
        for (const credentials of ["include", "same-origin", "omit"])
          for (const mode of ["cors", "no-cors", "same-origin", "navigate"])
            try {
              const answer = await fetch(manager + path, { mode, credentials });
              if (answer.type !== "opaque" && (await answer.text()).length) return true;
            } catch {}
      return false;""",
    "change something with fetch, by any method and type": """
      for (const type of [...TYPES, "application/json"])
        for (const method of ["POST", "PUT", "PATCH", "DELETE"])
          for (const path of ["/api/user/stop", "/stop", "/logout", `/api/admin/users/${user}`])
            for (const mode of ["cors", "no-cors"])
              try {
                const body = JSON.stringify({ is_admin: true });
                const headers = { "Content-Type": type };
                const init = { method, mode, body, headers, credentials: "include" };
                const answer = await fetch(manager + path, init);
                if (answer.type !== "opaque") return true;
              } catch {}
      return false;""",
    "change something with a form of any type": """
      for (const type of TYPES)
        for (const path of ["/stop", "/logout", "/api/admin/users", "/password"])
          await send(manager + path, type, {
            username: "planted", password: "a good password", '{"x":"': '"}',
          });
      return false;""",
    "send a beacon": """
      for (const path of ["/stop", "/logout", "/api/user/stop"])
        navigator.sendBeacon(manager + path, new Blob(["{}"], { type: "text/plain" }));
      await new Promise((done) => setTimeout(done, 500));
      return false;""",
    "listen to the manager's live connection": """
      const address = manager.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket";
      const socket = new WebSocket(address);
      return await new Promise((done) => {
        socket.onmessage = () => done(true);
        socket.onerror = socket.onclose = () => done(false);
      });""",
    "listen to it by polling": """
      const address = manager + "/socket.io/?EIO=4&transport=polling";
      return (await (await fetch(address, { credentials: "include" })).text()).length > 0;""",
    "open an event stream": """
      const stream = new EventSource(manager + "/api/user/state", { withCredentials: true });
      return await new Promise((done) => {
        stream.onmessage = stream.onopen = () => done(true);
        stream.onerror = () => done(false);
      });""",
    "put the manager's pages into a frame": """
      for (const path of ["/", "/admin", "/login"]) {
        const frame = document.createElement("iframe");
        frame.src = manager + path;
        const loaded = new Promise((done) => frame.addEventListener("load", done));
        document.body.append(frame);
        await loaded;
        // A page that was let in is of another origin, one that was refused of none.
        try {
          if (frame.contentDocument?.body?.textContent) return true;
        } catch {}
        const seen = performance.getEntriesByName(frame.src);
        if (seen.some((one) => one.decodedBodySize > 0)) return true;
        if (frame.contentWindow.length) return true;
      }
      return false;""",
    "hold on to a window of the manager": """
      const page = await opened(manager + "/");
      if (!page || page.closed) return false;
      try { return Boolean(page.document.body); } catch { page.close(); return true; }""",
    "load the manager's answers as script, style or picture": """
      const tried = (name, attribute, path) => new Promise((done) => {
        const element = document.createElement(name);
        if (name === "link") element.rel = "stylesheet";
        element[attribute] = manager + path;
        element.onload = () => done(true);
        element.onerror = () => done(false);
        document.body.append(element);
      });
      for (const path of ["/api/user/state", "/static/js/lib/api.js", "/static/favicon.svg"])
        for (const [name, attribute] of [["script", "src"], ["img", "src"], ["link", "href"]])
          if (await tried(name, attribute, path)) return true;
      return false;""",
    "register a service worker for the manager": """
      await navigator.serviceWorker.register(manager + "/static/js/lib/api.js");
      return true;""",
    "register one for its own port": """
      await navigator.serviceWorker.register("/static/demo.js");
      return true;""",
    "read cookies": """
      return /session|token_|owner_|entry_/.test(document.cookie);""",
    "write over cookies": """
      for (const name of ["comfyui_manager_session", ...NAMES])
        document.cookie = `${name}=x; path=/`;
      return document.cookie.includes("comfyui_manager_session");""",
    "read another workspace with fetch": """
      for (const path of ["/", "/api/queue", "/queue", "/system_stats", "/history"])
        for (const mode of ["cors", "no-cors", "same-origin"])
          try {
            const answer = await fetch(other + path, { mode, credentials: "include" });
            if (answer.type !== "opaque" && (await answer.text()).length) return true;
          } catch {}
      return false;""",
    "have another workspace work": """
      const body = JSON.stringify({ prompt: {
        1: { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 1, color: 1 } },
        2: { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "planted" } },
      } });
      for (const type of [...TYPES, "application/json"])
        for (const mode of ["cors", "no-cors"])
          try {
            const headers = { "Content-Type": type };
            const init = { method: "POST", mode, body, headers, credentials: "include" };
            await fetch(other + "/prompt", init);
          } catch {}
      for (const type of TYPES) await send(other + "/interrupt", type, { a: "1" });
      return false;""",
    "listen to another workspace's websocket": """
      const socket = new WebSocket(other.replace("http", "ws") + "/ws?clientId=x");
      return await new Promise((done) => {
        socket.onmessage = () => done(true);
        socket.onerror = socket.onclose = () => done(false);
      });""",
    "reach into a window of another workspace": """
      const page = await opened(other + "/");
      if (!page || page.closed) return false;
      let got = false;
      try { got = Boolean(page.document.body); } catch {}
      page.close();
      return got;""",
    "see the storage and messages of another workspace": """
      const channel = new BroadcastChannel("comfyui-manager");
      const heard = new Promise((done) => { channel.onmessage = () => done(true); });
      channel.postMessage("who is there?");
      if (localStorage.getItem("secret")) return true;
      return await Promise.race([heard, new Promise((done) => setTimeout(done, 300, false))]);""",
    "learn the address the visitor came from": """
      return document.referrer.includes("token_") || location.search.includes("token_");""",
}
"""What is tried, in the order of the table in ``docs/security.md``."""

SET_UP = f"const TYPES = {ENCTYPES};\n{FORM}{OPEN}"

EVICT = """for (let n = 0; n < 400; n += 1) document.cookie = `filler${n}=x; path=/`;"""
"""More cookies than a browser keeps for one host."""

SHADOW = """document.cookie = "comfyui_manager_session=mine; path=/admin";"""
"""A second cookie of the session's name, for a page that only the manager has."""


def script(attempt: str, *, manager: str, other: str, names: list[str], user: int) -> str:
    """Give the function to be run in the page; it tells true, or false with what refused it."""
    return f"""async () => {{
      const manager = "{manager}", other = "{other}", user = {user}, NAMES = {names};
      {SET_UP}
      try {{
        const got = await (async () => {{ {ATTEMPTS[attempt]} }})();
        return [got, ""];
      }} catch (error) {{
        return [false, String(error)];
      }}
    }}"""
