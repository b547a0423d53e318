// The user's own use: today, this week, the last sessions.

import { get } from "../lib/api.js";
import { field, role, setMoment, setText, show } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { duration, fillRows, whileSeen } from "../lib/usage.js";

const REFRESH_MS = 60_000;

const panel = document.querySelector("[data-own-usage]");
const pattern = document.querySelector('[data-template="own-session"]');

function writeSession(row, one) {
  setMoment(field(row, "started_at"), one.started_at);
  setText(field(row, "card"), t("card.label", { card: one.card }));
  setText(field(row, "held_seconds"), duration(one.held_seconds));
  setText(field(row, "worked_seconds"), duration(one.worked_seconds));
  setText(field(row, "prompts"), one.prompts);
}

function render(use) {
  show(panel, use.sessions.length > 0);
  for (const name of ["today", "week"]) {
    const tile = panel.querySelector(`[data-period="${name}"]`);
    setText(field(tile, "held_seconds"), duration(use[name].held_seconds));
    setText(field(tile, "worked"), t("user.usage.of_it", { worked: duration(use[name].worked_seconds) }));
    setText(field(tile, "prompts"), t("user.usage.prompts_run", { count: use[name].prompts }));
  }
  fillRows(role(panel, "own-sessions"), pattern, use.sessions, writeSession);
}

whileSeen(() => get("/api/user/usage").then(render).catch(() => {}), REFRESH_MS);
