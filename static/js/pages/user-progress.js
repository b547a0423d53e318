// How far the running work is: the bar, the node, the counts. Seconds go on between two updates.

import { clock, role, setText, show } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/** Between two sentences for who listens instead of looking. */
const SAY_EVERY_MS = 20_000;

const place = role(document, "work");
const part = (name) => role(place, name);

let work = null;
let takenAt = 0;
let saidAt = -Infinity;
let said = "";

function nodeText() {
  if (work && !work.told) return t("user.progress.untold");
  if (!work?.node) return t("user.progress.working");
  const node = t("user.progress.node", work);
  return work.steps ? `${node} · ${t("user.progress.step", work)}` : node;
}

function countsText() {
  const seconds = work.seconds + (performance.now() - takenAt) / 1000;
  const elapsed = t("user.progress.elapsed", { time: clock(seconds) });
  return [t("user.progress.prompt", work), t("user.progress.done", work), elapsed].join(" · ");
}

/** Screen readers hear of the percentage now and then, not of every step. */
function say() {
  const text = work?.told && work.node ? t("user.progress.said", work) : "";
  const now = performance.now();
  if (text === said || (text && now - saidAt < SAY_EVERY_MS)) return;
  [said, saidAt] = [text, now];
  setText(part("work-said"), text);
}

export function showProgress(instance) {
  show(place, Boolean(instance?.running));
  work = instance?.running ? instance.progress : null;
  takenAt = performance.now();
  const told = Boolean(work?.told);
  const bar = part("work-bar");
  show(bar, told);
  setText(part("work-percent"), told ? t("user.progress.percent", work) : "");
  if (told) bar.value = work.percent;
  setText(part("work-node"), nodeText());
  show(part("work-counts"), told);
  const still = told && work.still_minutes !== null;
  show(part("work-still"), still);
  if (still) setText(part("work-still"), t("user.progress.still", { minutes: work.still_minutes }));
  countProgress();
  say();
}

/** Count on; called each second. */
export function countProgress() {
  if (work?.told) setText(part("work-counts"), countsText());
}
