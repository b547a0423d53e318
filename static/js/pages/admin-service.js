// Maintenance and announcements: the panel's words, and the two dialogs.

import { call } from "../lib/api.js";
import { field, localMinute, momentText, role, setText, show, showProblem, toast, whileBusy } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

const panel = document.querySelector("[data-service]");
const list = role(panel, "told-list");
const pattern = panel.querySelector("template");
const problem = document.querySelector("[data-page-problem]");
const maintain = document.querySelector("[data-maintain]");
const announce = document.querySelector("[data-announce]");
const button = (name) => panel.querySelector(`[data-act="${name}"]`);

let service = null;

function sinceText({ begun_by: username, begun_at: at, until }) {
  const since = t("admin.service.since", { username, time: momentText(at) });
  return until === null ? since : `${since} · ${t("admin.service.planned", { time: momentText(until) })}`;
}

function writeTold(row, one) {
  row.dataset.told = one.id;
  const text = [one.text.en, one.text.zh].filter(Boolean).join(" / ");
  const made = t("admin.service.made", { username: one.made_by, time: momentText(one.made_at) });
  setText(field(row, "level"), t(`admin.service.level.${one.level}`));
  setText(field(row, "text"), text);
  setText(field(row, "hint"), one.until === null ? made : `${made} · ${t("admin.service.until", { time: momentText(one.until) })}`);
  row.querySelector("button").setAttribute("aria-label", t("admin.service.end_of", { text }));
}

export function renderService(next) {
  service = next;
  const { maintenance, left, announcements } = service;
  const on = Boolean(maintenance);
  panel.dataset.maintenance = on ? "on" : "off";
  show(role(panel, "maintenance-on"), on);
  show(button("maintain"), !on);
  role(panel, "left-badge").dataset.state = left ? "stopping" : "running";
  setText(role(panel, "left"), left ? t("admin.service.left", service) : t("admin.service.empty"));
  setText(role(panel, "since"), on ? sinceText(maintenance) : "");
  setText(role(panel, "reason"), maintenance?.reason ?? "");
  while (list.children.length > announcements.length) list.lastElementChild.remove();
  while (list.children.length < announcements.length) list.append(pattern.content.firstElementChild.cloneNode(true));
  announcements.forEach((one, index) => writeTold(list.children[index], one));
  show(list, announcements.length > 0);
  show(role(panel, "quiet"), !on && !announcements.length);
}

/** Send a change, show what comes back, say it; tells whether it worked. */
async function send(pressed, place, method, path, content, word) {
  showProblem(place, "");
  let done = false;
  await whileBusy(pressed, async () => {
    try {
      renderService((await call(method, `/api/admin/${path}`, content)).service);
      toast(t(`admin.service.${word}`));
      done = true;
    } catch (error) {
      showProblem(place, error.message);
    }
  });
  return done;
}

const epoch = (input) => (input.value ? new Date(input.value).getTime() / 1000 : null);

function openDialog(dialog, fill) {
  const form = dialog.querySelector("form");
  form.reset();
  fill?.(form.elements);
  showProblem(form.querySelector("[data-problem]"), "");
  dialog.showModal();
}

function openMaintain() {
  const { maintenance } = service;
  setText(role(maintain, "submit"), t(maintenance ? "admin.maintain.save" : "admin.maintain.submit"));
  openDialog(maintain, ({ reason, until }) => {
    reason.value = maintenance?.reason ?? "";
    until.value = maintenance?.until ? localMinute(maintenance.until) : "";
  });
}

const acts = {
  announce: () => openDialog(announce),
  maintain: openMaintain,
  "maintain-again": openMaintain,
  async resume(pressed) {
    if (await send(pressed, problem, "DELETE", "maintenance", {}, "is_off")) button("maintain").focus();
  },
  async end(pressed) {
    const { told } = pressed.closest("[data-told]").dataset;
    if (await send(pressed, problem, "DELETE", `announcements/${told}`, {}, "ended")) button("announce").focus();
  },
};

/** Have a dialog's form send what it says and close when that was taken. */
function wire(dialog, submit) {
  const form = dialog.querySelector("form");
  form.querySelector('[data-act="cancel"]').addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await submit(form.querySelector(".primary"), form.querySelector("[data-problem]"), form.elements)) dialog.close();
  });
}

panel.addEventListener("click", (event) => {
  const pressed = event.target.closest("button[data-act]");
  if (pressed) acts[pressed.dataset.act](pressed);
});
wire(maintain, (pressed, place, { reason, until }) =>
  send(pressed, place, "PUT", "maintenance", { reason: reason.value, until: epoch(until) }, "is_on"));
wire(announce, (pressed, place, { level, text_en: en, text_zh: zh, until }) =>
  send(pressed, place, "POST", "announcements", { level: level.value, text_en: en.value, text_zh: zh.value, until: epoch(until) }, "announced"));
