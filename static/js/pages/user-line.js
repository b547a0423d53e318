// The waiting line on the user's page: a place, an estimate, what is kept, and a word outside.

import { clock, momentText, role, setText, show, showProblem } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { notify } from "../lib/notify.js";
import { canSound, chime, soundIsOn, soundWaits, turnSound, waitForLeave } from "../lib/sound.js";

const IN_LINE = ["waiting", "turn"];

/** Less than the server keeps a place for. */
const PLACE_KEPT_MS = 15_000;

const page = document.querySelector("[data-user]");
const part = (name) => role(page, name);
const problem = page.querySelector("[data-problem]");

let state = null;
let claimDue = 0;
let placeTimer = 0;

function words({ phase, line }) {
  if (phase === "turn") return t("user.line.kept", { left: clock(Math.ceil((claimDue - performance.now()) / 1000)) });
  if (line.estimate) return t(`user.line.estimate.${line.estimate.form}`, line.estimate);
  return t(`user.line.estimate.${line.no_estimate}`);
}

/** Write what grows shorter by itself; once a second. */
export function countLine() {
  if (state.line && !state.line.missed_at) setText(part("line-text"), words(state));
}

/** Show how the user stands in the line. */
export function showLine(next) {
  state = next;
  const { line, phase } = state;
  claimDue = performance.now() + (line?.offer?.seconds ?? 0) * 1000;
  const waits = Boolean(line && !line.missed_at);
  if (waits || next.instance) forgetPlace();
  show(part("line"), waits);
  show(part("line-place"), phase === "waiting");
  if (waits) setText(part("line-place"), t("user.line.place", line));
  countLine();
  const held = line?.held ?? [];
  show(part("line-held"), held.length > 0);
  setText(part("line-held"), held.map(({ card, until }) => t("user.line.held", { card: t("card.label", { card }), time: momentText(until) })).join(" "));
  show(part("missed"), Boolean(line?.missed_at));
  if (line?.missed_at) setText(part("missed-text"), t("user.line.missed", { time: momentText(line.missed_at), limit: clock(line.limit) }));
}

function forgetPlace() {
  clearTimeout(placeTimer);
  show(part("left"), false);
}

/** Offer the old place in the line to who has just left it. */
export function offerPlace() {
  show(part("left"), true);
  part("left").querySelector("button").focus();
  placeTimer = setTimeout(forgetPlace, PLACE_KEPT_MS);
}

/** Make the button work; `act` sends a request and shows the state that comes back. */
export function wireLine(act) {
  part("left").querySelector("button").addEventListener("click", async () => {
    await act("take-back", "/api/user/line/take-back");
    forgetPlace();
  });
}

/** Say what the new state alone would not explain; `asked`: the reader has just left the line. */
export function explainLine(before, next, asked) {
  if (!before) return;
  const { phase, instance, line, last_usage: last } = next;
  if (before.phase === "turn" && phase === "waiting") showProblem(problem, t("user.line.withdrawn"));
  const started = instance || last?.started_at !== before.last_usage?.started_at;
  if (IN_LINE.includes(before.phase) && !line && !started && !asked) showProblem(problem, t("user.line.out"));
}

/** Say it outside of the page too when the turn has come. */
export function announceTurn(before, { phase, instance, line }) {
  // One that starts by itself may skip the turn's own face.
  if (before === phase || (phase !== "turn" && (before !== "waiting" || !instance))) return;
  const kept = line && !line.automatic;
  notify(t("user.headline.turn"), kept ? t("user.line.notice", { left: clock(line.offer.seconds) }) : t("user.line.notice_automatic"));
  chime();
}

function showSound() {
  show(part("sound"), canSound());
  show(part("sound-hint"), soundWaits());
  part("sound-on").checked = soundIsOn();
}

part("sound-on").addEventListener("change", (event) => {
  turnSound(event.target.checked);
  showSound();
});
waitForLeave(showSound);
showSound();
