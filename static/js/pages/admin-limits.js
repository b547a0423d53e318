// What each user is allowed, where it differs from the settings, and the dialog that sets it.

import { call } from "../lib/api.js";
import { field, role, setText, showProblem, toast, whileBusy } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { duration } from "../lib/usage.js";
import { chosen as people } from "./admin-people.js";

const HOUR_S = 3600;
const MIB_OF_GIB = 1024;
const NOTHING_SET = { priority: "normal", sessions_at_once: null, day_limit: null, session_limit: null, disk_limit: null };

const body = role(document, "users");
const dialog = document.querySelector("[data-limits]");
const form = document.querySelector("[data-limits-form]");

let limits = new Map();
let chosen = null;

/** What is in force, where it is anything; and whether that is for everybody. */
function summary(one) {
  const words = [];
  const say = (own, name, params) => {
    const text = t(`admin.limits.summary.${name}`, params);
    words.push(own ? text : t("admin.limits.summary.default", { text }));
  };
  if (one.priority !== "normal") say(true, "priority", { value: t(`admin.limits.priority.${one.priority}`) });
  const may = one.in_force.sessions_at_once;
  if (one.sessions_at_once !== null || !may) say(one.sessions_at_once !== null, may ? "may_start" : "sessions");
  for (const name of ["day", "session"]) {
    const own = one[`${name}_limit`] !== null;
    const value = one.in_force[`${name}_limit`];
    if (own || value) say(own, value ? name : `${name}_none`, { value: duration(value) });
  }
  return words.join(" · ");
}

/** Write into a user's row what he is allowed. */
export function writeLimits(row) {
  const one = limits.get(row.dataset.user);
  setText(field(row, "limits"), one ? summary(one) : "");
  const { textContent: username } = field(row, "username");
  row.querySelector('[data-rule="limits"]').setAttribute("aria-label", t("admin.limits.button_of", { username }));
}

/** Take over what users are allowed; their rows are written with the other things in them. */
export function renderLimits(list) {
  limits = new Map(list.map((one) => [String(one.user_id), one]));
}

const inHours = (seconds) => (seconds === null ? "" : String(Math.round((seconds / HOUR_S) * 1000) / 1000));
const inSeconds = (hours) => (hours === "" ? null : Math.round(Number(hours) * HOUR_S));

const inGib = (mib) => (mib === null ? "" : String(Math.round((mib / MIB_OF_GIB) * 1000) / 1000));
const inMib = (gib) => (gib === "" ? null : Math.round(Number(gib) * MIB_OF_GIB));

function open(ids, title, said) {
  const [first] = ids;
  const one = (ids.length === 1 && limits.get(first)) || NOTHING_SET;
  chosen = { ids, said };
  setText(role(dialog, "title"), title);
  form.elements.priority.value = one.priority;
  form.elements.sessions_at_once.value = one.sessions_at_once ?? "";
  form.elements.day_limit.value = inHours(one.day_limit);
  form.elements.session_limit.value = inHours(one.session_limit);
  form.elements.disk_limit.value = inGib(one.disk_limit);
  showProblem(form.querySelector("[data-problem]"), "");
  dialog.showModal();
}

async function save(event) {
  event.preventDefault();
  const place = form.querySelector("[data-problem]");
  const { priority, sessions_at_once: sessions, day_limit: day, session_limit: session, disk_limit: disk } = form.elements;
  showProblem(place, "");
  await whileBusy(form.querySelector(".primary"), async () => {
    try {
      const answer = await call("PUT", "/api/admin/people/limits", {
        user_ids: chosen.ids.map(Number),
        priority: priority.value,
        sessions_at_once: sessions.value === "" ? null : Number(sessions.value),
        day_limit: inSeconds(day.value),
        session_limit: inSeconds(session.value),
        disk_limit: inMib(disk.value),
      });
      renderLimits(answer.limits);
      dialog.close();
      for (const row of body.children) writeLimits(row);
      toast(chosen.said);
    } catch (error) {
      showProblem(place, error.message);
    }
  });
}

body.addEventListener("click", (event) => {
  const row = event.target.closest('button[data-rule="limits"]')?.closest("[data-user]");
  if (!row) return;
  const params = { username: field(row, "username").textContent };
  open([row.dataset.user], t("admin.limits.title", params), t("admin.limits.saved", params));
});
document.querySelector('[data-people] [data-act="limits"]').addEventListener("click", () => {
  const params = { count: people.size };
  open([...people], t("admin.limits.title_some", params), t("admin.limits.saved_some", params));
});
form.addEventListener("submit", save);
form.querySelector('[data-rule="cancel"]').addEventListener("click", () => dialog.close());
