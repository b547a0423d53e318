// What holds the session, how long is left, the warning, and what can be asked for against it.

import { call } from "../lib/api.js";
import { clock, momentText, role, setText, show } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { notify } from "../lib/notify.js";
import { duration } from "../lib/usage.js";

const page = document.querySelector("[data-user]");
const part = (name) => role(page, name);
const form = (name) => page.querySelector(`[data-form="${name}"]`);

let warned = false;

const ago = ({ idle_left: left, idle_timeout: timeout }) => Math.max(0, timeout - (left ?? timeout));

function words(instance) {
  const { idle_by: by, idle_left: left, idle_seconds: idle } = instance;
  if (instance.responding === false) return t("user.idle.unknown");
  if (left === null) return t(by === "silence" ? "user.idle.silence" : "user.idle.working");
  if (by === "awake") return t("user.idle.awake", { time: instance.awake_until ? momentText(instance.awake_until) : "–" });
  return t(by ? `user.idle.${by}` : "user.idle.counting", { ago: clock(ago(instance)), idle: clock(idle), left: clock(left) });
}

function hint({ extend }) {
  if (!extend) return t("user.warning.hint");
  if (!extend.left) return t("user.warning.used");
  return t(extend.waits ? "user.warning.waits" : "user.warning.offer", { time: duration(extend.seconds), left: extend.left });
}

function showWarning(instance) {
  const warns = Boolean(instance?.idle_warns);
  show(part("idle-warning"), warns);
  // Read out once, not with each second of the countdown.
  setText(part("warning-said"), warns ? t("user.warning.title") : "");
  if (warns) {
    setText(part("warning-text"), t("user.warning.text", { left: clock(instance.idle_left) }));
    setText(part("warning-hint"), hint(instance));
    show(form("extend"), Boolean(instance.extend?.left));
    if (!warned) notify(t("user.warning.title"), t("user.warning.text", { left: clock(instance.idle_left) }), "idle");
  }
  warned = warns;
}

function showAwake({ awake, awake_until: until }) {
  show(part("awake"), Boolean(awake));
  show(form("keep-awake"), Boolean(awake?.choices.length));
  show(part("awake-used"), Boolean(awake && !awake.choices.length));
  show(form("end-awake"), Boolean(until));
  if (until) setText(part("awake-until"), t("user.awake.until", { time: momentText(until) }));
  const list = part("awake-seconds");
  const choices = awake?.choices ?? [];
  if (list.options.length === choices.length && choices.every((one, n) => list.options[n].value === String(one))) return;
  const chosen = list.value;
  list.replaceChildren(...choices.map((one) => new Option(duration(one), one)));
  if (choices.includes(Number(chosen))) list.value = chosen;
}

/** Show how the session stands; `instance` is null when none runs. */
export function showIdle(instance) {
  showWarning(instance);
  if (!instance) return;
  const bar = part("idle-bar");
  bar.max = instance.idle_timeout;
  bar.value = ago(instance);
  bar.dataset.level = instance.idle_warns ? "high" : "normal";
  setText(part("idle-text"), words(instance));
  setText(part("idle-unknown"), instance.idle_unknown.map((one) => t(`user.idle.cannot_tell.${one}`)).join(" "));
  show(part("idle-unknown"), instance.idle_unknown.length > 0);
  showAwake(instance);
}

/** The page's title while the end is near; empty else. */
export const warningTitle = (instance) => (instance?.idle_warns ? `⚠ ${t("user.warning.short", { left: clock(instance.idle_left) })}` : "");

/** Say what an end for idleness rests on; empty for other ends. */
export function evidenceText(evidence) {
  if (!evidence) return "";
  const time = (epoch) => momentText(epoch);
  const parts = [t("user.evidence.idle", { idle: clock(evidence.idle_seconds), limit: clock(evidence.limit) })];
  if (evidence.worked_at) parts.push(t("user.evidence.worked", { time: time(evidence.worked_at) }));
  if (evidence.used_at) parts.push(t("user.evidence.used", { time: time(evidence.used_at) }));
  if (evidence.card_at) parts.push(t("user.evidence.card", { time: time(evidence.card_at) }));
  parts.push(...evidence.unknown.map((one) => t(`user.evidence.unknown.${one}`)));
  return [...parts, t("user.evidence.asked")].join(" ");
}

/** Make the buttons work; `act` sends a request and shows the state that comes back. */
export function wireIdle(act) {
  form("extend").addEventListener("submit", (event) => {
    event.preventDefault();
    act("extend", () => call("POST", "/api/user/extend", {}));
  });
  form("keep-awake").addEventListener("submit", (event) => {
    event.preventDefault();
    const seconds = Number(part("awake-seconds").value);
    act("keep-awake", () => call("POST", "/api/user/keep-awake", { seconds }));
  });
  form("end-awake").addEventListener("submit", (event) => {
    event.preventDefault();
    act("end-awake", () => call("DELETE", "/api/user/keep-awake", {}));
  });
}
