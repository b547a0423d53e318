// One user's row in the table of users.

import { field, momentText, setMoment, setText, show } from "../lib/dom.js";
import { bytes } from "../lib/format.js";
import { pageData, t } from "../lib/i18n.js";
import { duration } from "../lib/usage.js";
import { writeLimits } from "./admin-limits.js";
import { chosen } from "./admin-people.js";

const NEAR = 0.9;

function label(row, action, key, username) {
  const button = row.querySelector(`[data-action="${action}"]`);
  button.setAttribute("aria-label", t(key, { username }));
  button.title = button.textContent.trim();
}

function writeAccount(row, user, self) {
  const { username } = user;
  setText(field(row, "username"), username);
  show(field(row, "you"), self);
  setText(field(row, "role"), t(user.is_admin ? "admin.users.role_admin" : "admin.users.role_user"));
  const port = field(row, "assigned_port");
  port.setAttribute("aria-label", t("admin.users.port_of", { username }));
  const value = String(user.assigned_port ?? "");
  if (document.activeElement !== port && port.value !== value) port.value = value;
  const status = field(row, "status");
  status.dataset.state = user.is_active ? "running" : "idle";
  setText(status, t(user.is_active ? "admin.users.active" : "admin.users.disabled"));
  show(field(row, "must_change"), user.must_change_password);
  show(field(row, "second_factor"), user.second_factor);
}

function writeDisk(place, { disk_total: used, disk_limit: limit }) {
  const near = limit && used > NEAR * limit;
  place.dataset.level = near ? (used > limit ? "over" : "near") : "";
  if (used == null) setText(place, "–");
  else setText(place, limit ? t("admin.users.disk_of", { used: bytes(used), limit: bytes(limit) }) : bytes(used));
}

function writeSeen(row, user, one, port) {
  setText(field(row, "works"), port ? t("admin.users.works", { port }) : "");
  setText(field(row, "hours"), one?.held_seconds ? duration(one.held_seconds) : "–");
  writeDisk(field(row, "disk_total"), user);
  setMoment(field(row, "last_login"), one?.last_login_at ?? null);
  setText(field(row, "created_at"), t("admin.users.created_at", { time: momentText(user.created_at) }));
}

function writeActs(row, user, self) {
  const { username } = user;
  setText(field(row, "toggle_text"), t(user.is_active ? "admin.users.disable" : "admin.users.enable"));
  label(row, "toggle", user.is_active ? "admin.users.disable_of" : "admin.users.enable_of", username);
  label(row, "reset", "admin.users.reset_of", username);
  label(row, "factor", "admin.users.factor_of", username);
  show(row.querySelector('[data-action="factor"]'), user.second_factor);
  label(row, "logout", "admin.users.logout_of", username);
  label(row, "delete", "admin.users.delete_of", username);
  for (const button of row.querySelectorAll("[data-action]")) button.disabled = self;
  const choose = field(row, "choose");
  choose.setAttribute("aria-label", t("admin.users.choose_of", { username }));
  choose.checked = chosen.has(String(user.id));
  choose.disabled = self;
}

/** Write an account into its row; `seen`: what is known beside it, `works`: the port he uses. */
export function writeUser(row, { user, seen, works }) {
  const self = user.id === pageData.me;
  row.dataset.user = user.id;
  writeAccount(row, user, self);
  writeSeen(row, user, seen, works);
  writeActs(row, user, self);
  writeLimits(row);
}
