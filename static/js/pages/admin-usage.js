// What the cards were used for: a table that can be sorted, for a period, by user, day or card.

import { get } from "../lib/api.js";
import { field, role, setMoment, setText, show, showProblem } from "../lib/dom.js";
import { has, t } from "../lib/i18n.js";
import { duration, fillRows, whileSeen } from "../lib/usage.js";

const REFRESH_MS = 60_000;

const panel = document.querySelector("[data-usage]");
const problem = panel.querySelector("[data-usage-problem]");
const choice = role(panel, "usage-choice");
const sortChoice = role(panel, "usage-sort");
const pattern = (name) => document.querySelector(`[data-template="${name}"]`);

let use = JSON.parse(panel.dataset.usage);
let sorted = { by: "held_seconds", down: true };
let asked = 0;

const columnName = (name) => (name === "key" ? t(`admin.usage.by.${use.by}`) : t(`admin.usage.column.${name}`));

function compare(one, other) {
  const [a, b] = [one[sorted.by], other[sorted.by]];
  // What is not known comes last either way.
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  const order = typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
  return sorted.down ? -order : order;
}

function showUnknown(row, { unknown_seconds: unknown }) {
  setText(field(row, "unknown_seconds"), unknown >= 60 ? t("admin.usage.unknown", { time: duration(unknown) }) : "");
}

function writeSeconds(row, item, ...names) {
  for (const name of names) setText(field(row, name), duration(item[name]));
}

function writeTotal(row, total) {
  field(row, "key").dataset.label = t(`admin.usage.by.${use.by}`);
  setText(field(row, "key"), use.by === "card" ? t("card.label", { card: total.key }) : total.key);
  writeSeconds(row, total, "held_seconds", "worked_seconds", "idle_seconds");
  showUnknown(row, total);
  const known = total.share !== null;
  setText(field(row, "share"), known ? t("admin.usage.percent", { percent: total.share }) : "–");
  field(row, "share_bar").value = total.share ?? 0;
  show(field(row, "share_bar"), known);
  setText(field(row, "sessions"), total.sessions);
  setText(field(row, "waited_median"), total.waited ? duration(total.waited_median) : "–");
  setText(field(row, "waited"), total.waited ? t("admin.usage.waited", { count: total.waited }) : "");
  setText(field(row, "prompts"), total.prompts);
}

function endText(reason) {
  if (!reason) return t("admin.usage.end.lasts");
  const key = `admin.usage.end.${reason}`;
  return has(key) ? t(key) : reason;
}

function writeSession(row, one) {
  setText(field(row, "username"), one.username);
  setText(field(row, "card"), t("card.label", { card: one.card }));
  setMoment(field(row, "started_at"), one.started_at);
  setText(field(row, "waited_seconds"), one.waited_seconds ? duration(one.waited_seconds) : "–");
  writeSeconds(row, one, "held_seconds", "worked_seconds", "idle_seconds");
  showUnknown(row, one);
  setText(field(row, "prompts"), one.prompts);
  setText(field(row, "end_reason"), endText(one.end_reason));
}

function render() {
  fillRows(role(panel, "totals"), pattern("total"), [...use.totals].sort(compare), writeTotal);
  fillRows(role(panel, "sessions"), pattern("session"), use.sessions, writeSession);
  const some = use.totals.length > 0;
  show(role(panel, "usage-empty"), !some);
  show(role(panel, "usage-table"), some);
  show(role(panel, "usage-sort-field"), some);
  show(role(panel, "usage-sessions"), use.sessions.length > 0);
  for (const head of panel.querySelectorAll("[data-sort]")) {
    setText(role(head, "sort-text"), columnName(head.dataset.sort));
    if (head.dataset.sort === sorted.by) head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  for (const option of sortChoice.options) setText(option, columnName(option.value));
  sortChoice.value = sorted.by;
  for (const link of panel.querySelectorAll("[data-csv]")) {
    if (link.dataset.csv !== "session") link.dataset.csv = use.by;
    link.href = `/api/admin/usage.csv?${new URLSearchParams({ period: use.period, by: link.dataset.csv })}`;
  }
}

function sortBy(name, down) {
  sorted = { by: name, down };
  render();
}

async function refetch() {
  const number = ++asked;
  const wanted = new URLSearchParams(new FormData(choice));
  try {
    const found = await get(`/api/admin/usage?${wanted}`);
    // Another choice may have been made meanwhile.
    if (number !== asked) return;
    if (found.by !== use.by) sorted = found.by === "user" ? { by: "held_seconds", down: true } : { by: "key", down: found.by === "day" };
    use = found;
    showProblem(problem, "");
    render();
  } catch (error) {
    if (number === asked) showProblem(problem, error.message);
  }
}

choice.addEventListener("change", refetch);
choice.addEventListener("submit", (event) => event.preventDefault());
sortChoice.addEventListener("change", () => sortBy(sortChoice.value, sortChoice.value !== "key"));
panel.querySelector("thead").addEventListener("click", (event) => {
  const name = event.target.closest("[data-sort]")?.dataset.sort;
  // The first click puts the most at the top, names in their order.
  if (name) sortBy(name, name === sorted.by ? !sorted.down : name !== "key");
});

if (use.by !== "user") sorted = { by: "key", down: use.by === "day" };
render();
// The sums over all years take their time, and change little.
whileSeen(() => use.period !== "all" && refetch(), REFRESH_MS);
