// The examination: begins one, waits for its end, shows what was found.

import { get, post } from "../lib/api.js";
import { field, role, setText, showProblem } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { language, t } from "../lib/i18n.js";
import { fillRows } from "../lib/usage.js";

const LOOK_EVERY_MS = 1000;

const panel = document.querySelector("[data-doctor]");
const button = panel.querySelector("button");
const pattern = document.querySelector('[data-template="finding"]');

function statusOf(found) {
  if (found.running) return t("admin.doctor.running");
  if (found.failed) return t("admin.doctor.failed", { reason: found.failed });
  if (!found.at) return "";
  const at = moment(new Date(found.at * 1000), language);
  return `${t("admin.doctor.at", { at })} ${t(`doctor.worst.${found.level}`)}`;
}

function write(row, one) {
  row.dataset.finding = one.check;
  row.dataset.level = one.level;
  setText(field(row, "level"), one.level_text);
  setText(field(row, "title"), one.title);
  setText(field(row, "text"), one.text);
}

function render(found) {
  panel.dataset.doctor = found.running ? "running" : "rest";
  button.disabled = found.running;
  setText(role(panel, "status"), statusOf(found));
  fillRows(role(panel, "findings"), pattern, found.findings, write);
}

async function follow(found) {
  render(found);
  while (found.running) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    found = await get("/api/admin/doctor");
    render(found);
  }
}

role(panel, "form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await follow(await post("/api/admin/doctor"));
  } catch (error) {
    showProblem(document.querySelector("[data-page-problem]"), error.message);
    button.disabled = false;
  }
});

if (panel.dataset.doctor === "running") get("/api/admin/doctor").then(follow, () => {});
