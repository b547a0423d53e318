// The table of users: who is seen, create, port, disable and enable, reset password, delete.

import { call, get, post } from "../lib/api.js";
import { ask, copyFrom, role, setText, show, showProblem, toast, whileBusy } from "../lib/dom.js";
import { pageData, t } from "../lib/i18n.js";
import { whileSeen } from "../lib/usage.js";
import { onCreated } from "./admin-create.js";
import { chosen, foundIds, search, searching, sortBy, sorting, turnPage, visible } from "./admin-people.js";
import { writeUser } from "./admin-user-row.js";

const REFRESH_MS = 60_000;

const panel = document.querySelector("[data-people]");
const body = role(panel, "users");
const pages = role(panel, "pages");
const chooseAll = role(panel, "choose-all");
const pattern = document.querySelector('[data-template="user"]');
const shownPassword = document.querySelector("[data-shown-password]");
const problem = document.querySelector("[data-page-problem]");

let users = new Map();
let seen = seenOf(pageData.people);
let works = new Map();
let waits = new Set();

function seenOf(people) {
  return new Map(people.map((one) => [one.user_id, one]));
}

const free = () => foundIds().filter((id) => id !== String(pageData.me));

function showChosen() {
  const all = free();
  const count = all.filter((id) => chosen.has(id)).length;
  chooseAll.checked = count > 0 && count === all.length;
  chooseAll.indeterminate = count > 0 && count < all.length;
  show(role(panel, "chosen-bar"), chosen.size > 0);
  setText(role(panel, "chosen-count"), chosen.size ? t("admin.users.chosen", { count: chosen.size }) : "");
}

function showTools({ ids, first, found }, size) {
  const all = users.size;
  setText(role(panel, "count"), searching() ? t("admin.users.found", { found, count: all }) : t("admin.users.count", { count: all }));
  show(role(panel, "nobody"), found === 0);
  show(pages, found > size);
  setText(role(pages, "page"), found > size ? t("admin.users.page", { first, last: first + ids.length - 1, count: found }) : "");
  pages.querySelector('[data-act="previous"]').disabled = first === 1;
  pages.querySelector('[data-act="next"]').disabled = first + size > found;
  const { by, down } = sorting();
  for (const head of panel.querySelectorAll("th[data-sort]")) {
    if (head.dataset.sort === by) head.setAttribute("aria-sort", down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  role(panel, "sort").value = by;
  showChosen();
}

/** Show the users as they are now; `anew`: in the order that the reader has just asked for. */
function draw(anew = false) {
  const size = Number(pages.dataset.size);
  const items = [...users.values()].map((user, index) => ({ user, seen: seen.get(user.id), works: works.get(user.username), index }));
  const byId = new Map(items.map((item) => [String(item.user.id), item]));
  const found = visible(items, size, { anew });
  const old = new Map([...body.children].map((row) => [row.dataset.user, row]));
  found.ids.forEach((id, index) => {
    const row = old.get(id) ?? pattern.content.firstElementChild.cloneNode(true);
    old.delete(id);
    writeUser(row, byId.get(id));
    // Moving a row that is where it belongs would take the focus from its button.
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
  });
  for (const row of old.values()) row.remove();
  showTools(found, size);
}

export function renderUsers(overview) {
  users = new Map(overview.users.map((user) => [String(user.id), user]));
  works = new Map(overview.ports.filter((port) => port.username).map((port) => [port.username, port.port]));
  waits = new Set(overview.line.map((one) => one.user_id));
  draw();
}

async function refetch() {
  await get("/api/admin/people").then(({ people }) => {
    seen = seenOf(people);
    draw();
  }).catch(() => {});
}

async function attempt(button, work) {
  showProblem(problem, "");
  await whileBusy(button, async () => {
    try {
      await work();
    } catch (error) {
      showProblem(problem, error.message);
      problem.scrollIntoView({ block: "center" });
    }
  });
}

/** Take changed accounts over and say it, with a way back where there is one. */
function changed(list, text, undo) {
  for (const user of list) users.set(String(user.id), user);
  draw();
  toast(text, undo && { text: t("common.undo"), run: undo });
}

async function change(user, changes, button) {
  const before = Object.fromEntries(Object.keys(changes).map((name) => [name, user[name]]));
  await attempt(button, async () => {
    const answer = await call("PATCH", `/api/admin/users/${user.id}`, changes);
    changed([answer.user], t("admin.changed", user), () => change(answer.user, before, button));
  });
}

async function setActive(ids, active, button) {
  await attempt(button, async () => {
    const answer = await call("PATCH", "/api/admin/people", { user_ids: ids, is_active: active });
    const back = answer.users.map((user) => user.id);
    changed(answer.users, t(`admin.users.${active ? "enabled" : "disabled"}_some`, { count: back.length }), back.length ? () => setActive(back, !active, button) : null);
  });
}

function sure(name, params) {
  return ask(t(`admin.${name}_confirm.title`, params), t(`admin.${name}_confirm.text`), t(`admin.${name}_confirm.yes`));
}

/** Whether disabling somebody takes from him what enabling does not give back. */
const loses = (user) => works.has(user.username) || waits.has(user.id);

const actions = {
  async toggle(user, button) {
    if (user.is_active && loses(user) && !(await sure("disable", user))) return;
    await change(user, { is_active: !user.is_active }, button);
  },
  async reset(user, button) {
    if (!(await sure("reset", user))) return;
    await attempt(button, async () => {
      const { password } = await post(`/api/admin/users/${user.id}/reset-password`);
      setText(role(shownPassword, "title"), t("admin.reset_done.title", user));
      role(shownPassword, "password").value = password;
      shownPassword.showModal();
    });
  },
  async factor(user, button) {
    if (!(await sure("factor", user))) return;
    await attempt(button, async () => {
      const answer = await call("DELETE", `/api/admin/users/${user.id}/second-factor`);
      changed([answer.user], t("admin.factor_done", user));
    });
  },
  async logout(user, button) {
    if (!(await sure("logout", user))) return;
    await attempt(button, async () => {
      const answer = await call("DELETE", `/api/admin/users/${user.id}/sessions`);
      changed([answer.user], t("admin.logout_done", user));
    });
  },
  async delete(user, button) {
    if (!(await sure("delete", user))) return;
    await attempt(button, async () => {
      await call("DELETE", `/api/admin/users/${user.id}`);
      users.delete(String(user.id));
      draw();
      toast(t("admin.deleted", user));
    });
  },
};

const acts = {
  async disable(button) {
    const some = [...chosen].map((id) => users.get(id));
    if (some.some(loses) && !(await sure("disable_some", { count: some.length }))) return;
    await setActive(some.map((user) => user.id), false, button);
  },
  enable: (button) => setActive([...chosen].map(Number), true, button),
  none() {
    chosen.clear();
    draw();
    chooseAll.focus();
  },
  previous: () => turn(-1),
  next: () => turn(1),
};

function turn(step) {
  turnPage(step);
  draw();
  panel.querySelector("thead").scrollIntoView({ block: "nearest" });
}

body.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-action]");
  const user = users.get(event.target.closest("[data-user]")?.dataset.user);
  if (button && user) actions[button.dataset.action](user, button);
});
body.addEventListener("change", (event) => {
  const user = users.get(event.target.closest("[data-user]")?.dataset.user);
  const port = event.target.value ? Number(event.target.value) : null;
  if (user && event.target.dataset.field === "assigned_port") change(user, { assigned_port: port }, event.target);
  if (user && event.target.dataset.field === "choose") {
    chosen[event.target.checked ? "add" : "delete"](String(user.id));
    showChosen();
  }
});
shownPassword.querySelector('[data-action="copy"]').addEventListener("click", () => copyFrom(role(shownPassword, "password")));
shownPassword.addEventListener("close", () => {
  role(shownPassword, "password").value = "";
});
panel.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) acts[button.dataset.act]?.(button);
  const by = event.target.closest("button.sort")?.closest("[data-sort]").dataset.sort;
  if (!by) return;
  sortBy(by);
  draw(true);
});
role(panel, "sort").addEventListener("change", (event) => {
  sortBy(event.target.value, false);
  draw(true);
});
role(panel, "search").addEventListener("input", (event) => {
  search(event.target.value);
  draw(true);
});
chooseAll.addEventListener("change", () => {
  for (const id of free()) chosen[chooseAll.checked ? "add" : "delete"](id);
  draw();
});
onCreated((user) => {
  users.set(String(user.id), user);
  draw();
});
whileSeen(refetch, REFRESH_MS);
