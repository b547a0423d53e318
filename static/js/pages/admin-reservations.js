// For whom each port is kept: words and buttons in its row, and the dialog. Also whose time is over.

import { call } from "../lib/api.js";
import { clock, field, localMinute, momentText, role, setText, show, showProblem, toast, whileBusy } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { offerUndo } from "../lib/undo.js";

const body = role(document, "ports");
const dialog = document.querySelector("[data-reserve]");
const form = document.querySelector("[data-reserve-form]");
const problem = document.querySelector("[data-page-problem]");

let known = { ports: [], reservations: [], users: [] };
let chosen = null;

function reservedText(port, told) {
  let words = t("admin.reserved.nobody");
  if (told.user_ids.length) words = t("admin.reserved.for", { usernames: told.usernames.join(", ") });
  else if (port.username) words = t("admin.reserved.draining", port);
  return told.until === null ? words : `${words} · ${t("admin.reserved.until", { time: momentText(told.until) })}`;
}

function byText(told) {
  const by = t("admin.reserved.by", { username: told.reserved_by, time: momentText(told.reserved_at) });
  return told.reason ? `${by} · ${told.reason}` : by;
}

function timeText(time) {
  if (!time) return "";
  if (!time.over) return t("admin.time.left", { left: clock(time.seconds) });
  return t(time.shut ? "admin.time.shut" : "admin.time.over", { over: clock(-time.seconds) });
}

function render(port) {
  const row = body.querySelector(`[data-port="${port.port}"]`);
  if (!row) return;
  const told = known.reservations.find((one) => one.port === port.port);
  show(field(row, "reserved"), Boolean(told));
  setText(field(row, "reserved"), told ? reservedText(port, told) : "");
  setText(field(row, "reserved_by"), told ? byText(told) : "");
  setText(field(row, "time"), timeText(port.time));
  show(row.querySelector('[data-rule="drain"]'), !told);
  show(row.querySelector('[data-rule="put-back"]'), Boolean(told));
}

export function renderReservations({ ports, reservations, users }) {
  known = { ports, reservations, users };
  ports.forEach(render);
}

async function change(method, port, content) {
  const answer = await call(method, `/api/admin/ports/${port}/reservation`, content);
  renderReservations({ ...known, ...answer });
}

const reservationOf = (port) => known.reservations.find((one) => one.port === Number(port));

/** Have a port reserved as it was before, or for nobody special if it was not. */
async function restore(port, before) {
  try {
    if (before) await change("PUT", port, { user_ids: before.user_ids, until: before.until, reason: before.reason });
    else await change("DELETE", port, {});
    toast(t("undo.undone"));
  } catch (error) {
    showProblem(problem, error.message);
  }
}

async function send(button, place, method, port, content, word) {
  showProblem(place, "");
  const before = reservationOf(port);
  let done = false;
  await whileBusy(button, async () => {
    try {
      await change(method, port, content);
      offerUndo(t(`admin.reserved.${word}`, { port }), () => restore(port, before));
      done = true;
    } catch (error) {
      showProblem(place, error.message);
    }
  });
  return done;
}

function open(port) {
  chosen = port;
  form.reset();
  setText(role(dialog, "title"), t("admin.reserve.title", { port }));
  const able = known.users.filter((user) => user.is_active && [null, Number(port)].includes(user.assigned_port));
  const told = reservationOf(port);
  const named = (user) => Boolean(told?.user_ids.includes(user.id));
  form.elements.users.replaceChildren(...able.map((user) => new Option(user.username, user.id, named(user), named(user))));
  form.elements.until.value = told?.until ? localMinute(told.until) : "";
  form.elements.reason.value = told?.reason ?? "";
  showProblem(form.querySelector("[data-problem]"), "");
  dialog.showModal();
}

const rules = {
  drain: (port, button) => send(button, problem, "PUT", port, { user_ids: [] }, "drained"),
  reserve: open,
  "put-back": (port, button) => send(button, problem, "DELETE", port, {}, "is_back"),
};

body.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-rule]");
  if (!button) return;
  const row = button.closest("[data-port]");
  await rules[button.dataset.rule](row.dataset.port, button);
  // The pressed button may be gone: the keyboard goes on at what undoes it.
  if (button.hidden && document.activeElement === document.body) row.querySelector("[data-rule]:not([hidden]):not([data-rule='reserve'])").focus();
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { users, until, reason } = form.elements;
  const content = {
    user_ids: [...users.selectedOptions].map((option) => Number(option.value)),
    until: until.value ? new Date(until.value).getTime() / 1000 : null,
    reason: reason.value,
  };
  const place = form.querySelector("[data-problem]");
  if (await send(form.querySelector(".primary"), place, "PUT", chosen, content, "reserved")) dialog.close();
});
form.querySelector('[data-rule="cancel"]').addEventListener("click", () => dialog.close());
