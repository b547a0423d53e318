// Who waits for a card, in order, and the button that takes somebody out.

import { call } from "../lib/api.js";
import { ask, field, momentText, role, setText, show, showProblem, whileBusy } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

const panel = document.querySelector("[data-line]");
const list = role(panel, "line-list");
const pattern = document.querySelector('[data-template="waiting"]');
const problem = document.querySelector("[data-page-problem]");

function write(row, one) {
  row.toggleAttribute("data-turn", one.offered_port !== null);
  setText(field(row, "name"), one.username);
  const parts = [
    one.assigned_port === null ? t("admin.line.any") : t("admin.line.port", { port: one.assigned_port }),
    t("admin.line.since", { time: momentText(one.joined_at) }),
  ];
  if (one.priority !== "normal") parts.push(t(`admin.line.priority.${one.priority}`));
  if (one.offered_port !== null) parts.push(t("admin.line.offered", { port: one.offered_port }));
  else if (one.estimate) parts.push(t(`wall.line.estimate.${one.estimate.form}`, one.estimate));
  setText(field(row, "hint"), parts.join(" · "));
  row.querySelector("button").setAttribute("aria-label", t("admin.line.remove_of", one));
}

export function renderLine(line) {
  const old = new Map([...list.children].map((row) => [row.dataset.waiting, row]));
  line.forEach((one, index) => {
    const name = String(one.user_id);
    const row = old.get(name) ?? pattern.content.firstElementChild.cloneNode(true);
    old.delete(name);
    row.dataset.waiting = name;
    write(row, one);
    // Moving a row that is where it belongs would take the focus from its button.
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  for (const row of old.values()) row.remove();
  show(panel, line.length > 0);
}

list.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  const row = button.closest("li");
  const user = row.dataset.waiting;
  const [title, text] = ["title", "text"].map((part) => t(`admin.line.remove_confirm.${part}`, { username: field(row, "name").textContent }));
  if (!(await ask(title, text, t("admin.line.remove_confirm.yes")))) return;
  showProblem(problem, "");
  await whileBusy(button, async () => {
    try {
      renderLine((await call("DELETE", `/api/admin/line/${user}`)).line);
    } catch (error) {
      showProblem(problem, error.message);
    }
  });
});
