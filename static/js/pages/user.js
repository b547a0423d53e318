// The user's page. The server painted it; this keeps it true and makes the buttons work.

import { get, post } from "../lib/api.js";
import { ask, clock, closeMenus, copyFrom, faultHint, faultText, localTimes, momentText, role, setLog, setMoment, setState, setText, show, showProblem, whileBusy } from "../lib/dom.js";
import { has, pageData, t } from "../lib/i18n.js";
import { STATE_EVENT, connect } from "../lib/live.js";

const LOG_EVERY_MS = 2000;
const COUNT_EVERY_MS = 1000;

const page = document.querySelector("[data-user]");
const part = (name) => role(page, name);
const button = (name) => page.querySelector(`[data-action="${name}"]`);
const form = (name) => page.querySelector(`[data-form="${name}"]`);
const problem = page.querySelector("[data-problem]");

let revision = 0;
let state = null;
let restartDue = 0;

function explain(phase, { instance, user }) {
  if (phase === "running") return t("user.explain.running", { card: t("card.label", { card: instance.card }) });
  if (phase === "full" && user.assigned_port) return t("user.explain.full_port", { port: user.assigned_port });
  return t(`user.explain.${phase}`, { port: user.assigned_port });
}

function showHero(phase) {
  const { instance, last_usage: last, cards } = state;
  const before = page.dataset.phase;
  page.dataset.phase = phase;
  const shown = ["full", "held_back", "no_port"].includes(phase) ? "idle" : phase;
  setState(page, shown);
  setText(part("headline"), t(`user.headline.${phase}`));
  setText(part("explain"), explain(phase, state));
  setText(part("free"), t("user.free", cards));
  show(part("free"), !instance);
  show(form("start"), !instance);
  setText(part("start-text"), t(last ? "user.start_again" : "user.start"));
  const open = button("open");
  show(open, Boolean(instance?.workspace_url));
  if (instance?.workspace_url) open.href = instance.workspace_url;
  else open.removeAttribute("href");
  show(form("stop"), Boolean(instance?.actions.includes("stop")));
  setText(part("stop-text"), t(phase === "starting" ? "user.cancel_start" : "user.stop"));
  document.title = `${t(`state.${shown}`)} · ${t("user.title")}`;
  if (before !== phase) showProblem(problem, "");
}

function showStages(phase, instance) {
  const list = part("stages");
  show(list, phase === "starting");
  if (phase !== "starting") return;
  const items = [...list.children];
  const reached = Math.max(0, items.findIndex((item) => item.dataset.stage === instance.stage));
  items.forEach((item, index) => {
    const step = index < reached ? "done" : index === reached ? "now" : "todo";
    item.dataset.step = step;
    // Only an engine with a queue of its own has this one.
    if (item.dataset.stage === "queued") show(item, step === "now");
    item.toggleAttribute("aria-current", step === "now");
    if (step === "now") item.setAttribute("aria-current", "step");
    setText(role(item, "step-text"), step === "todo" ? "" : t(`user.stage_${step}`));
  });
}

function idleText(instance) {
  if (instance.responding === false) return t("user.idle.unknown");
  if (instance.idle_left === null) return t("user.idle.working");
  return t("user.idle.counting", { idle: clock(instance.idle_seconds), left: clock(instance.idle_left) });
}

function restartText({ over, attempt, most }) {
  const seconds = Math.ceil((restartDue - performance.now()) / 1000);
  if (over) return t(`user.restart.${over}`, { most });
  return seconds > 0 ? t("user.restart.waiting", { seconds, attempt, most }) : t("user.restart.now", { attempt, most });
}

function showRestart() {
  const { restart } = state;
  show(part("restart"), Boolean(restart));
  show(form("cancel-restart"), Boolean(restart && !restart.over));
  if (restart) setText(part("restart-text"), restartText(restart));
}

function showDetails(phase, instance) {
  show(part("details"), phase === "running");
  if (phase !== "running") return;
  show(part("hung"), instance.hung_since !== null);
  if (instance.hung_since !== null) setText(part("hung-since"), t("user.hung.since", { time: momentText(instance.hung_since) }));
  setText(part("running"), instance.running ?? "–");
  setText(part("pending"), instance.pending ?? "–");
  setText(part("card"), t("card.label", { card: instance.card }));
  setMoment(part("since"), instance.started_at);
  const bar = part("idle-bar");
  bar.max = instance.idle_timeout;
  bar.value = instance.idle_seconds ?? 0;
  bar.dataset.level = instance.idle_left !== null && instance.idle_left < instance.idle_timeout / 5 ? "high" : "normal";
  setText(part("idle-text"), idleText(instance));
  part("external").value = instance.external_url ?? "";
}

/** The end of the tail is what matters: begin there, once for each session. */
function showTail(place, last) {
  setText(place, last.log_tail || t("common.log_empty"));
  if (place.dataset.of === String(last.ended_at)) return;
  place.dataset.of = String(last.ended_at);
  place.scrollTop = place.scrollHeight;
}

function showLast(last) {
  const visible = Boolean(last?.ended_at);
  show(part("last"), visible);
  if (!visible) return;
  const reason = has(`user.end.${last.end_reason}`) ? last.end_reason : "other";
  part("last").dataset.tone = last.log_tail === null ? "plain" : "danger";
  setText(part("end-reason"), t(`user.end.${reason}`, { minutes: Math.floor(pageData.idle_timeout / 60) || 1 }));
  setText(part("end-hint"), t(`user.end.hint.${reason}`));
  show(part("end-hint"), !last.fault_kind);
  show(part("reason"), Boolean(last.fault_kind));
  setText(part("reason-what"), faultText(last));
  show(part("reason-line"), Boolean(last.fault_line));
  setText(part("reason-line"), last.fault_line);
  setText(part("reason-hint"), faultHint(last));
  setText(part("last-where"), t("user.last.where", { card: t("card.label", { card: last.card }), port: last.port }));
  setMoment(part("last-ended"), last.ended_at);
  show(part("last-log"), last.log_tail !== null);
  setText(part("fault"), last.fault_kind ? "" : (last.fault ?? ""));
  showTail(part("log-tail"), last);
}

function render(next) {
  // An answer to a request may be overtaken by a newer push.
  if (next.revision < revision) return;
  revision = next.revision;
  state = next;
  const { phase } = state;
  restartDue = performance.now() + (state.restart?.seconds ?? 0) * 1000;
  showHero(phase);
  showRestart();
  showStages(phase, state.instance);
  showDetails(phase, state.instance);
  showLast(state.instance ? null : state.last_usage);
  show(part("log-panel"), Boolean(state.instance || state.last_usage));
}

async function refetch() {
  await get("/api/user/state").then(render).catch(() => {});
}

async function act(name, path) {
  showProblem(problem, "");
  await whileBusy(button(name), async () => {
    try {
      render(await post(path));
    } catch (error) {
      showProblem(problem, error.message);
      if (error.status === 409) await refetch().then(() => showProblem(problem, error.message));
    }
  });
}

async function refreshLog() {
  if (!part("log-fold").open || document.hidden) return;
  await get("/api/user/log").then(({ log }) => setLog(part("log"), log)).catch(() => {});
}

form("start").addEventListener("submit", (event) => {
  event.preventDefault();
  act("start", "/api/user/start");
});
form("stop").addEventListener("submit", async (event) => {
  event.preventDefault();
  const starting = state.instance?.state === "starting";
  const sure = starting || (await ask(t("user.stop_confirm.title"), t("user.stop_confirm.text"), t("user.stop_confirm.yes")));
  if (sure) await act("stop", "/api/user/stop");
});
form("cancel-restart").addEventListener("submit", (event) => {
  event.preventDefault();
  act("cancel-restart", "/api/user/cancel-restart");
});
page.querySelector("[data-copy]").addEventListener("click", () => copyFrom(part("external")));
part("log-fold").addEventListener("toggle", refreshLog);
setInterval(refreshLog, LOG_EVERY_MS);
setInterval(showRestart, COUNT_EVERY_MS);

closeMenus();
localTimes();
render(pageData.state);
connect({ [STATE_EVENT]: render }, refetch);
