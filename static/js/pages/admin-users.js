// The table of users: create, port, disable and enable, reset password, delete.

import { call, post } from "../lib/api.js";
import { ask, copyFrom, field, role, setMoment, setText, show, showProblem, toast, whileBusy } from "../lib/dom.js";
import { pageData, t } from "../lib/i18n.js";

// Without 0/O, 1/l/I: a first password is often read aloud.
const LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const GENERATED_LENGTH = 14;

const body = role(document, "users");
const pattern = document.querySelector('[data-template="user"]');
const createDialog = document.querySelector("[data-create]");
const createForm = document.querySelector("[data-create-form]");
const shownPassword = document.querySelector("[data-shown-password]");
const problem = document.querySelector("[data-page-problem]");

let users = new Map();

function label(row, action, key, username) {
  row.querySelector(`[data-action="${action}"]`).setAttribute("aria-label", t(key, { username }));
}

function renderUser(user) {
  let row = body.querySelector(`[data-user="${user.id}"]`);
  if (!row) {
    row = pattern.content.firstElementChild.cloneNode(true);
    row.dataset.user = user.id;
    body.append(row);
  }
  const { username } = user;
  const self = user.id === pageData.me;
  setText(field(row, "username"), username);
  show(field(row, "you"), self);
  setText(field(row, "role"), t(user.is_admin ? "admin.users.role_admin" : "admin.users.role_user"));
  const port = field(row, "assigned_port");
  port.setAttribute("aria-label", t("admin.users.port_of", { username }));
  if (document.activeElement !== port) port.value = user.assigned_port ?? "";
  const status = field(row, "status");
  status.dataset.state = user.is_active ? "running" : "idle";
  setText(status, t(user.is_active ? "admin.users.active" : "admin.users.disabled"));
  show(field(row, "must_change"), user.must_change_password);
  setMoment(field(row, "created_at"), user.created_at);
  setText(field(row, "toggle_text"), t(user.is_active ? "admin.users.disable" : "admin.users.enable"));
  label(row, "toggle", user.is_active ? "admin.users.disable_of" : "admin.users.enable_of", username);
  label(row, "reset", "admin.users.reset_of", username);
  label(row, "delete", "admin.users.delete_of", username);
  for (const button of row.querySelectorAll("[data-action]")) button.disabled = self;
}

export function renderUsers(list) {
  users = new Map(list.map((user) => [String(user.id), user]));
  for (const row of [...body.children]) if (!users.has(row.dataset.user)) row.remove();
  list.forEach(renderUser);
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

async function change(user, changes) {
  const answer = await call("PATCH", `/api/admin/users/${user.id}`, changes);
  users.set(String(user.id), answer.user);
  renderUser(answer.user);
  toast(t("admin.changed", user));
}

function sure(name, user) {
  return ask(t(`admin.${name}_confirm.title`, user), t(`admin.${name}_confirm.text`), t(`admin.${name}_confirm.yes`));
}

const actions = {
  async toggle(user, button) {
    if (user.is_active && !(await sure("disable", user))) return;
    await attempt(button, () => change(user, { is_active: !user.is_active }));
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
  async delete(user, button) {
    if (!(await sure("delete", user))) return;
    await attempt(button, async () => {
      await call("DELETE", `/api/admin/users/${user.id}`);
      body.querySelector(`[data-user="${user.id}"]`)?.remove();
      toast(t("admin.deleted", user));
    });
  },
};

function generate() {
  const numbers = crypto.getRandomValues(new Uint32Array(GENERATED_LENGTH));
  createForm.elements.password.value = [...numbers].map((number) => LETTERS[number % LETTERS.length]).join("");
}

async function create(event) {
  event.preventDefault();
  const place = createForm.querySelector("[data-problem]");
  const { username, password, assigned_port: port, is_admin: admin } = createForm.elements;
  showProblem(place, "");
  await whileBusy(createForm.querySelector("button:not([type])"), async () => {
    try {
      const { user } = await post("/api/admin/users", {
        username: username.value,
        password: password.value,
        is_admin: admin.checked,
        assigned_port: port.value ? Number(port.value) : null,
      });
      users.set(String(user.id), user);
      renderUser(user);
      createDialog.close();
      toast(t("admin.created", user));
    } catch (error) {
      showProblem(place, error.message);
    }
  });
}

body.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-action]");
  const user = users.get(event.target.closest("[data-user]")?.dataset.user);
  if (button && user) actions[button.dataset.action](user, button);
});
body.addEventListener("change", (event) => {
  const user = users.get(event.target.closest("[data-user]")?.dataset.user);
  const port = event.target.value ? Number(event.target.value) : null;
  if (user && event.target.dataset.field === "assigned_port") attempt(event.target, () => change(user, { assigned_port: port }));
});
document.querySelector('[data-action="create"]').addEventListener("click", () => {
  createForm.reset();
  showProblem(createForm.querySelector("[data-problem]"), "");
  createDialog.showModal();
});
createForm.addEventListener("submit", create);
createForm.querySelector('[data-action="generate"]').addEventListener("click", generate);
createForm.querySelector('[data-action="cancel"]').addEventListener("click", () => createDialog.close());
shownPassword.querySelector('[data-action="copy"]').addEventListener("click", () => copyFrom(role(shownPassword, "password")));
shownPassword.addEventListener("close", () => {
  role(shownPassword, "password").value = "";
});
