// What an admin has to decide: launches without an owner, and ports that are held back.

import { post } from "../lib/api.js";
import { ask, field, role, setText, show, showProblem, whileBusy } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { language, t } from "../lib/i18n.js";

const panel = document.querySelector("[data-attention]");
const leftovers = role(panel, "leftover-list");
const held = role(panel, "held-list");
const webhooks = role(panel, "webhook-list");
const problem = document.querySelector("[data-page-problem]");

let shown = { leftovers: [], quarantine: [], webhooks: [] };

function fill(list, kind, entries, nameOf, write) {
  const names = entries.map((entry) => String(nameOf(entry)));
  for (const row of list.querySelectorAll(`[data-${kind}]`)) {
    if (!names.includes(row.dataset[kind])) row.remove();
  }
  entries.forEach((entry, index) => {
    let row = [...list.children].find((old) => old.dataset[kind] === names[index]);
    if (!row) {
      const pattern = document.querySelector(`[data-template="${kind}"]`);
      row = pattern.content.firstElementChild.cloneNode(true);
      row.dataset[kind] = names[index];
      list.append(row);
    }
    write(row, entry, row.querySelector("button"));
  });
}

function writeLeftover(row, one, button) {
  const known = (value) => value ?? t("admin.attention.unknown");
  const about = { launch: one.launch_id, port: known(one.port), card: known(one.card), pid: known(one.pid) };
  setText(field(row, "text"), t("admin.attention.leftover", about));
  const since = one.since === null ? "" : ` · ${moment(new Date(one.since * 1000), language)}`;
  const ending = one.ending ? ` · ${t("admin.attention.ending")}` : "";
  setText(field(row, "hint"), `${known(one.username)}${since}${ending}`);
  button.setAttribute("aria-label", t("admin.attention.end_of", { launch: one.launch_id }));
  button.disabled = one.ending;
}

function writeHeld(row, one, button) {
  setText(field(row, "text"), t("admin.attention.held", one));
  const clear = one.clear ? ` · ${t("admin.attention.clear")}` : "";
  setText(field(row, "hint"), `${moment(new Date(one.since * 1000), language)} · ${one.reason}${clear}`);
  button.setAttribute("aria-label", t("admin.attention.release_of", { port: one.port }));
}

function writeWebhook(row, one) {
  setText(field(row, "text"), t("admin.attention.webhook", one));
  setText(field(row, "hint"), t("admin.attention.webhook_since", { problem: one.problem, time: moment(new Date(one.since * 1000), language) }));
}

export function renderAttention(overview) {
  shown = { leftovers: overview.leftovers, quarantine: overview.quarantine, webhooks: overview.webhooks };
  fill(leftovers, "leftover", shown.leftovers, (one) => one.launch_id, writeLeftover);
  fill(held, "held", shown.quarantine, (one) => one.port, writeHeld);
  fill(webhooks, "webhook", shown.webhooks, (one) => one.name, writeWebhook);
  show(role(panel, "leftovers"), shown.leftovers.length > 0);
  show(role(panel, "held-back"), shown.quarantine.length > 0);
  show(role(panel, "webhooks"), shown.webhooks.length > 0);
  show(panel, shown.leftovers.length + shown.quarantine.length + shown.webhooks.length > 0);
}

async function act(button, path) {
  showProblem(problem, "");
  await whileBusy(button, async () => {
    try {
      renderAttention({ ...shown, ...(await post(path)) });
    } catch (error) {
      showProblem(problem, error.message);
    }
  });
}

panel.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  const row = button.closest("li");
  if (button.dataset.action === "held") {
    const port = row.dataset.held;
    const [title, text] = ["title", "text"].map((part) => t(`admin.attention.release_confirm.${part}`, { port }));
    if (await ask(title, text, t("admin.attention.release_confirm.yes"))) await act(button, `/api/admin/ports/${port}/release`);
    return;
  }
  const launch = row.dataset.leftover;
  const title = t("admin.attention.end_confirm.title", { launch });
  const text = t("admin.attention.end_confirm.text");
  if (await ask(title, text, t("admin.attention.end_confirm.yes"))) {
    await act(button, `/api/admin/leftovers/${launch}/stop`);
  }
});
