// The panel of the cards' history: asks when it is opened, and now and then while somebody looks.
// What draws comes with the first opening; most visits never need it.

import { get } from "../lib/api.js";
import { role, show, showProblem } from "../lib/dom.js";
import { whileSeen } from "../lib/usage.js";

const REFRESH_MS = 60_000;

const panel = document.querySelector("[data-card-history]");
let charts = null;
let asked = 0;

function addStyle(href) {
  if (document.querySelector(`link[href="${href}"]`)) return;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = href;
  document.head.append(link);
}

async function refresh() {
  if (!panel.open) return;
  const number = ++asked;
  const choice = role(panel, "history-choice");
  try {
    const wanted = new URLSearchParams(new FormData(choice));
    const found = await get(`/api/admin/cards/history?${wanted}`);
    charts ??= await import(panel.dataset.module);
    // Another choice may have been made meanwhile.
    if (number !== asked) return;
    showProblem(role(panel, "history-problem"), "");
    const known = charts.draw(panel, found);
    show(role(panel, "history-empty"), !known);
  } catch (error) {
    if (number === asked) showProblem(role(panel, "history-problem"), error.message);
  }
}

if (panel) {
  panel.addEventListener("toggle", () => {
    addStyle(panel.dataset.style);
    refresh();
  });
  role(panel, "history-choice").addEventListener("change", refresh);
  whileSeen(refresh, REFRESH_MS);
}
