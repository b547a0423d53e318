// How far a start is, what it has taken and what starts usually take. Seconds go on by themselves.

import { clock, role, setText, show } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { duration } from "../lib/usage.js";

const place = role(document, "start");
const part = (name) => role(place, name);

let start = null;
let takenAt = 0;

function showStages(stage) {
  const items = [...part("stages").children];
  const reached = Math.max(0, items.findIndex((item) => item.dataset.stage === stage));
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

function showUsual({ usual }) {
  for (const name of ["start-usual", "start-by"]) show(part(name), Boolean(usual));
  if (!usual) return;
  setText(part("start-usual"), `· ${t(`user.starting.usual.${usual.form}`, usual)}`);
  setText(part("start-by"), `(${t(`user.starting.by.${usual.own ? "own" : "all"}`, usual)})`);
}

/** Count on; called each second. */
export function countStart() {
  if (!start) return;
  const elapsed = start.elapsed + (performance.now() - takenAt) / 1000;
  setText(part("start-so-far"), t("user.starting.so_far", { time: clock(elapsed) }));
  const late = Boolean(start.usual && elapsed > start.usual.late_after);
  show(part("start-late"), late);
  setText(part("start-late"), late ? t("user.starting.late", { limit: duration(start.limit) }) : "");
}

/** Show how a start goes on; hides it all while none does. */
export function showStart({ phase, instance }) {
  show(place, phase === "starting");
  start = phase === "starting" ? instance.start : null;
  if (phase !== "starting") return;
  takenAt = performance.now();
  showStages(instance.stage);
  if (start) showUsual(start);
  countStart();
}
