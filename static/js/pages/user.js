// The user's page. The server painted it; this keeps it true and makes the buttons work.

import { call, get } from "../lib/api.js";
import { cardLabel } from "../lib/card.js";
import { ask, closeMenus, copyFrom, faultHint, faultText, localTimes, momentText, role, setMoment, setState, setText, show, showProblem, whileBusy } from "../lib/dom.js";
import { has, pageData, t } from "../lib/i18n.js";
import { STATE_DIFF_EVENT, STATE_EVENT, connect, follow } from "../lib/live.js";
import { logAddress, logView } from "../lib/log-view.js";
import { showNotices } from "../lib/notices.js";
import { askForNotifications } from "../lib/notify.js";
import { explainDisk, reloadDisk } from "./user-disk.js";
import "./user-gallery.js";
import { evidenceText, showIdle, warningTitle, wireIdle } from "./user-idle.js";
import { showKept, wireKept } from "./user-kept.js";
import { announceTurn, countLine, explainLine, offerPlace, showLine, wireLine } from "./user-line.js";
import { openSoon, showOpenSoon } from "./user-open.js";
import { countProgress, showProgress } from "./user-progress.js";
import { countRules, explainDay, showRules } from "./user-rules.js";
import { countStart, showStart } from "./user-stages.js";
import "./user-usage.js";

const LOG_EVERY_MS = 2000;
const COUNT_EVERY_MS = 1000;
const TAKEN = ["full", "held_back", "reserved", "maintenance"];
const BLOCKED = ["day_used", "no_sessions", "disk_full", "no_port"];
const WITHOUT_STATE = [...TAKEN, ...BLOCKED];
const UNCOUNTED = ["maintenance", "no_port"];

const page = document.querySelector("[data-user]");
const part = (name) => role(page, name);
const button = (name) => page.querySelector(`[data-action="${name}"]`);
const form = (name) => page.querySelector(`[data-form="${name}"]`);
const problem = page.querySelector("[data-problem]");

let revision = 0;
let state = null;
let leaving = false;
let restartDue = 0;

function explain(phase, { instance, user, line }) {
  if (["full", "held_back"].includes(phase) && state.engine_silent) return t("user.explain.engine_silent");
  if (phase === "turn") return t(line.automatic ? "user.explain.turn_automatic" : "user.explain.turn", { card: t("card.label", { card: line.offer.card }) });
  if (phase === "waiting" && line.automatic) return t("user.explain.waiting_automatic");
  if (phase === "running") return t("user.explain.running", { card: cardLabel(instance) });
  if (phase === "day_used") return explainDay(state);
  if (phase === "disk_full") return explainDisk(state);
  if (phase === "full" && user.assigned_port) return t("user.explain.full_port", { port: user.assigned_port });
  return t(`user.explain.${phase}`, { port: user.assigned_port });
}

function titleOf(phase, shown, { line, instance }) {
  if (warningTitle(instance)) return warningTitle(instance);
  if (phase === "turn") return `★ ${t("user.headline.turn")}`;
  return phase === "waiting" ? t("user.line.place", line) : t(`state.${shown}`);
}

function showHero(phase) {
  const { instance, last_usage: last, cards, line } = state;
  const before = page.dataset.phase;
  const waits = phase === "waiting" || phase === "turn";
  const taken = TAKEN.includes(phase);
  page.dataset.phase = phase;
  const shown = WITHOUT_STATE.includes(phase) ? "idle" : phase;
  setState(page, shown);
  setText(part("headline"), t(`user.headline.${phase}`));
  setText(part("explain"), explain(phase, state));
  setText(part("free"), t("user.free", cards));
  show(part("free"), !instance && !waits && !UNCOUNTED.includes(phase));
  show(part("slowed"), state.slowdown > 1);
  show(form("start"), !instance && !taken && !BLOCKED.includes(phase) && phase !== "waiting");
  setText(part("start-text"), t(last && !waits ? "user.start_again" : "user.start"));
  show(form("join"), taken);
  setText(part("join-text"), t(line?.missed_at ? "user.line.join_again" : "user.line.join"));
  const open = button("open");
  show(open, Boolean(instance?.workspace_url));
  if (instance?.workspace_url) open.href = instance.workspace_url;
  else open.removeAttribute("href");
  show(form("stop"), Boolean(instance?.actions.includes("stop")));
  setText(part("stop-text"), t(phase === "starting" ? "user.cancel_start" : "user.stop"));
  document.title = `${titleOf(phase, shown, state)} · ${t("user.title")}`;
  if (before !== phase) showProblem(problem, "");
  announceTurn(before, state);
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
  setText(part("card"), cardLabel(instance));
  setMoment(part("since"), instance.started_at);
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
  setText(part("evidence"), evidenceText(last.evidence));
  show(part("evidence"), Boolean(last.evidence));
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
  const previous = state;
  state = next;
  const { phase } = state;
  showNotices(state.notices);
  restartDue = performance.now() + (state.restart?.seconds ?? 0) * 1000;
  showHero(phase);
  showLine(state);
  explainLine(previous, state, leaving);
  showRules(state);
  reloadDisk(state);
  showRestart();
  showIdle(phase === "running" ? state.instance : null);
  showKept(state);
  showStart(state);
  showOpenSoon(state);
  showDetails(phase, state.instance);
  showProgress(state.instance);
  showLast(state.instance ? null : state.last_usage);
  show(part("log-panel"), Boolean(state.instance || state.last_usage));
}

async function refetch() {
  await get("/api/user/state").then(render).catch(() => {});
}

/** Send a request of the button `name` and show the state that comes back. */
async function actWith(name, send) {
  showProblem(problem, "");
  await whileBusy(button(name), async () => {
    try {
      render(await send());
    } catch (error) {
      showProblem(problem, error.message);
      if (error.status !== 409) return;
      await refetch();
      // Somebody was quicker: the page offers the line now, which says enough.
      showProblem(problem, error.code === "no_free_card" && !form("join").hidden ? "" : error.message);
    }
  });
}

const act = (name, path, method = "POST") => actWith(name, () => call(method, path, {}));

const log = logView(part("log-fold"), (known) => get(logAddress("/api/user/log", known)));

function refreshLog() {
  if (part("log-fold").open && !document.hidden) log.refresh();
}

form("start").addEventListener("submit", (event) => {
  event.preventDefault();
  // First of all: browsers open a tab only for the click itself.
  openSoon();
  askForNotifications();
  act("start", "/api/user/start");
});
form("stop").addEventListener("submit", async (event) => {
  event.preventDefault();
  const starting = state.instance?.state === "starting";
  const sure = starting || (await ask(t("user.stop_confirm.title"), t("user.stop_confirm.text"), t("user.stop_confirm.yes")));
  if (sure) await act("stop", "/api/user/stop");
});
form("join").addEventListener("submit", (event) => {
  event.preventDefault();
  askForNotifications();
  act("join", "/api/user/line");
});
form("leave").addEventListener("submit", async (event) => {
  event.preventDefault();
  leaving = true;
  await act("leave", "/api/user/line", "DELETE");
  leaving = false;
  if (!state.line && !state.instance) offerPlace();
});
form("cancel-restart").addEventListener("submit", (event) => {
  event.preventDefault();
  act("cancel-restart", "/api/user/cancel-restart");
});
page.querySelector("[data-copy]").addEventListener("click", () => copyFrom(part("external")));
part("log-fold").addEventListener("toggle", refreshLog);
setInterval(refreshLog, LOG_EVERY_MS);
setInterval(() => {
  showRestart();
  countLine();
  countProgress();
  countStart();
  countRules(refetch);
}, COUNT_EVERY_MS);

wireIdle(actWith);
wireKept(actWith);
wireLine(act);
closeMenus();
localTimes();
render(pageData.state);
connect(follow(STATE_EVENT, STATE_DIFF_EVENT, render), () => {
  // Another manager may have begun meanwhile, by a clock that was set back.
  revision = 0;
});
