// The table of ports: who has which card, how idle, stop and log.

import { call, get, post } from "../lib/api.js";
import { cardLabel } from "../lib/card.js";
import { ask, clock, faultHint, faultText, field, momentText, role, setMoment, setState, setText, show, showProblem, toast, whileBusy } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { logAddress, logView } from "../lib/log-view.js";

const body = role(document, "ports");
const logDialog = document.querySelector("[data-log]");
const problem = document.querySelector("[data-page-problem]");

const LOG_EVERY_MS = 2000;

let shownPort = null;

function queueText(port) {
  if (port.running === null) return "–";
  const counts = t("admin.ports.queue_value", { running: port.running, pending: port.pending });
  return port.responding === false ? `${counts} (${t("admin.ports.not_responding")})` : counts;
}

function renderWork(row, work) {
  const told = Boolean(work?.told);
  show(field(row, "work"), told);
  if (!told) return;
  field(row, "work_bar").value = work.percent;
  setText(field(row, "work_text"), t("admin.ports.progress_value", { percent: work.percent, node: work.node || "–" }));
  setText(field(row, "work_still"), work.still_minutes === null ? "" : t("admin.ports.still", { minutes: work.still_minutes }));
}

/** What else than the queue holds a session. */
function byText({ idle_by: by, idle_left: left, awake_until: until }) {
  if (left === null || !["workspace", "card", "extended", "awake"].includes(by)) return "";
  return t(`admin.ports.by.${by}`, { time: until ? momentText(until) : "–" });
}

function renderPort(port) {
  const row = body.querySelector(`[data-port="${port.port}"]`);
  if (!row) return;
  row.dataset.state = port.state;
  setState(row, port.state);
  setText(field(row, "card"), cardLabel(port));
  setText(field(row, "unreachable"), port.unreachable);
  setText(field(row, "fault"), faultText(port) || port.fault);
  setText(field(row, "fault_line"), port.fault_line);
  setText(field(row, "fault_hint"), faultHint(port));
  setText(field(row, "restart"), port.restart ? t("admin.ports.restart", port.restart) : "");
  setText(field(row, "hung"), port.hung_since === null ? "" : t("admin.ports.hung", { time: momentText(port.hung_since) }));
  setText(field(row, "held_back"), port.held_back ? t("admin.ports.held_back") : "");
  setText(field(row, "username"), port.username ?? "–");
  setMoment(field(row, "since"), port.username ? port.started_at : null, "");
  setText(field(row, "queue"), queueText(port));
  renderWork(row, port.progress);
  const running = port.state === "running" && port.idle_seconds !== null;
  const idle = { idle: clock(port.idle_seconds), timeout: clock(port.idle_timeout) };
  setText(field(row, "idle_text"), running ? t("admin.ports.idle_value", idle) : "–");
  const bar = field(row, "idle_bar");
  show(bar, running);
  bar.max = port.idle_timeout;
  bar.value = port.idle_left === null ? 0 : Math.max(0, port.idle_timeout - port.idle_left);
  setText(field(row, "idle_by"), byText(port));
  show(row.querySelector('[data-action="end-awake"]'), Boolean(port.awake_until));
  row.querySelector('[data-action="stop"]').disabled = !port.actions.includes("stop");
}

export function renderPorts(ports) {
  ports.forEach(renderPort);
  const used = ports.filter((port) => ["starting", "running", "stopping"].includes(port.state)).length;
  setText(role(document, "in-use"), t("admin.ports.in_use", { used, total: ports.length }));
}

async function stop(row, button) {
  const port = row.dataset.port;
  const username = field(row, "username").textContent;
  const title = t("admin.ports.stop_confirm.title", { port });
  if (!(await ask(title, t("admin.ports.stop_confirm.text", { username }), t("admin.ports.stop_confirm.yes")))) return;
  showProblem(problem, "");
  await whileBusy(button, async () => {
    try {
      renderPort((await post(`/api/admin/ports/${port}/stop`)).instance);
      toast(t("admin.stop_asked", { port }));
    } catch (error) {
      showProblem(problem, error.message);
    }
  });
}

async function endAwake(row, button) {
  showProblem(problem, "");
  await whileBusy(button, async () => {
    try {
      renderPort((await call("DELETE", `/api/admin/ports/${row.dataset.port}/keep-awake`, {})).instance);
    } catch (error) {
      showProblem(problem, error.message);
    }
  });
}

const log = logView(logDialog, (known) => get(logAddress(`/api/admin/ports/${shownPort}/log`, known)));

function openLog(row) {
  shownPort = row.dataset.port;
  setText(role(logDialog, "title"), t("admin.log.title", { port: shownPort }));
  log.reset(`/api/admin/ports/${shownPort}/log.txt`);
  logDialog.showModal();
  // The browser goes to the search, which on a phone brings up half a screen of keys.
  if (matchMedia("(pointer: coarse)").matches) role(logDialog, "log").focus();
  log.refresh();
}

body.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  const row = event.target.closest("[data-port]");
  if (!button || !row) return;
  if (button.dataset.action === "stop") stop(row, button);
  else if (button.dataset.action === "end-awake") endAwake(row, button);
  else openLog(row);
});
setInterval(() => {
  if (logDialog.open && !document.hidden) log.refresh();
}, LOG_EVERY_MS);
