// Limits and reservations on the user's page: a countdown, what concerns him, what he is allowed.

import { clock, momentText, role, setText, show } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { notify } from "../lib/notify.js";
import { duration } from "../lib/usage.js";

const page = document.querySelector("[data-user]");
const part = (name) => role(page, name);

let state = null;
let shownAt = 0;
let changeDue = Infinity;

const since = () => (performance.now() - shownAt) / 1000;

function timeText(time) {
  const gone = since();
  if (time.shut) return t("user.time.shut");
  if (!time.over) return t(`user.time.ends.${time.limit}`, { left: clock(Math.ceil(time.seconds - gone)) });
  return time.open_for === null ? t("user.time.over") : t("user.time.closing", { left: clock(Math.ceil(time.open_for - gone)) });
}

/** Write what grows shorter by itself; once a second. `refetch`: what another day may have changed. */
export function countRules(refetch) {
  const time = state.instance?.time;
  if (time?.soon) setText(part("time-text"), timeText(time));
  else if (time) setText(part("time-left"), t(`user.time.left.${time.limit}`, { left: clock(Math.ceil(time.seconds - since())) }));
  if (performance.now() < changeDue) return;
  changeDue = Infinity;
  refetch();
}

function showReservation(told) {
  show(part("reservation"), Boolean(told));
  if (!told) return;
  part("reservation").dataset.tone = told.kind === "mine" ? "plain" : "warning";
  setText(part("reservation-text"), t(`user.reserved.${told.kind}`, { card: t("card.label", { card: told.card }) }));
  setText(part("reservation-until"), told.until === null ? t("user.reserved.open") : t("user.reserved.until", { time: momentText(told.until) }));
  setText(part("reservation-reason"), told.reason ? t("user.reserved.reason", { reason: told.reason }) : "");
}

function showAllowed({ limits, instance }) {
  const words = [];
  if (limits.day_limit && !instance) words.push(t("user.allowed.day", { limit: duration(limits.day_limit), used: duration(limits.used_today) }));
  if (limits.session_limit) words.push(t("user.allowed.session", { limit: duration(limits.session_limit) }));
  setText(part("allowed"), words.join(" "));
  show(part("allowed"), words.length > 0);
}

/** Why the user may not start, in a sentence; for the page's main words. */
export function explainDay({ limits }) {
  return t("user.explain.day_used", { limit: duration(limits.day_limit), time: momentText(limits.again_at) });
}

/** Show what the user is allowed and what concerns him; say it outside of the page when time ends. */
export function showRules(next) {
  const before = state?.instance?.time;
  state = next;
  shownAt = performance.now();
  changeDue = state.limits.again_in === null ? Infinity : shownAt + (state.limits.again_in + 1) * 1000;
  const time = state.instance?.time;
  show(part("time"), Boolean(time?.soon));
  show(part("time-left"), Boolean(time && !time.soon));
  showReservation(state.reservation);
  showAllowed(state);
  countRules(() => {});
  if (before && !before.soon && time?.soon) notify(t("user.title"), t("user.time.notice", { left: clock(time.seconds) }));
}
