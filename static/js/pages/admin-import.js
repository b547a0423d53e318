// Many accounts at once: a table is given, looked at on the server, and made all or none.

import { post } from "../lib/api.js";
import { ask, field, role, setText, show, showProblem, whileBusy } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { fillRows } from "../lib/usage.js";

const PATH = "/api/admin/people/table";
const FORMULA = /^[=+\-@\t\r]/;

const dialog = document.querySelector("[data-import]");
const problem = dialog.querySelector("[data-problem]");
const step = (name) => dialog.querySelector(`[data-step="${name}"]`);
const part = (name) => role(dialog, name);

let table = "";
let address = "";
let untaken = false;

function go(name) {
  for (const form of dialog.querySelectorAll("[data-step]")) show(form, form.dataset.step === name);
  showProblem(problem, "");
}

/** Forget everything, passwords above all. */
function reset() {
  for (const form of dialog.querySelectorAll("form")) form.reset();
  for (const name of ["passwords", "problems", "rows"]) part(name).replaceChildren();
  if (address) URL.revokeObjectURL(address);
  part("download").removeAttribute("href");
  table = address = "";
  untaken = false;
  go("give");
}

async function readFile(file) {
  showProblem(problem, "");
  try {
    part("text").value = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    part("file").value = "";
    showProblem(problem, t("admin.import.not_utf8"));
  }
}

function writeRow(row, one) {
  setText(field(row, "line"), one.line);
  setText(field(row, "username"), one.username);
  setText(field(row, "role"), t(one.is_admin ? "admin.users.role_admin" : "admin.users.role_user"));
  setText(field(row, "port"), one.assigned_port ?? t("admin.users.port_any"));
  setText(field(row, "status"), t(one.is_active ? "admin.users.active" : "admin.users.disabled"));
  setText(field(row, "password"), t(one.has_password ? "admin.import.given" : "admin.import.made"));
}

function showLook({ rows, problems, problem_count: count }) {
  const wrong = count > 0;
  go("look");
  setText(part("summary"), wrong ? t("admin.import.wrong", { count }) : t("admin.import.right", { count: rows.length }));
  part("problems").replaceChildren(
    ...problems.map(({ line, text }) => {
      const item = document.createElement("li");
      item.textContent = t("admin.import.problem", { line, text });
      return item;
    }),
  );
  show(part("problems"), wrong);
  show(part("rows-place"), rows.length > 0);
  fillRows(part("rows"), dialog.querySelector("template"), rows, writeRow);
  show(part("make"), !wrong);
  setText(part("make"), t("admin.import.make", { count: rows.length }));
  part("summary").focus();
}

/** A cell that no program takes for more than text: quoted, and never a formula. */
function cell(value) {
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",;\s]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function showDone({ made }) {
  const lines = made.filter(({ password }) => password !== null).map((one) => `${cell(one.username)},${cell(one.password)}`);
  go("done");
  setText(part("done"), t("admin.import.done", { count: made.length }));
  untaken = lines.length > 0;
  for (const name of ["once", "passwords", "download"]) show(part(name), untaken);
  if (untaken) {
    const text = ["username,password", ...lines, ""].join("\r\n");
    setText(part("passwords"), text);
    // With the mark by which spreadsheets know UTF-8.
    address = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
    part("download").href = address;
  }
  part("done").focus();
}

/** Send the table and show what comes back; a problem is said where the reader is. */
async function send(button, dryRun, then) {
  showProblem(problem, "");
  await whileBusy(button, async () => {
    try {
      then(await post(PATH, { table, dry_run: dryRun }));
    } catch (error) {
      showProblem(problem, error.message);
    }
  });
}

async function close() {
  if (untaken && !(await ask(t("admin.import.lose.title"), t("admin.import.lose.text"), t("admin.import.lose.yes")))) return;
  dialog.close();
}

document.querySelector('[data-people] [data-act="import"]').addEventListener("click", () => {
  reset();
  dialog.showModal();
});
part("file").addEventListener("change", ({ target }) => target.files.length && readFile(target.files[0]));
part("download").addEventListener("click", () => {
  untaken = false;
});
step("give").addEventListener("submit", (event) => {
  event.preventDefault();
  table = part("text").value;
  send(step("give").querySelector(".primary"), true, showLook);
});
step("look").addEventListener("submit", (event) => {
  event.preventDefault();
  send(part("make"), false, showDone);
});
step("done").addEventListener("submit", (event) => event.preventDefault());
dialog.addEventListener("click", (event) => {
  const act = event.target.closest("button[data-act]")?.dataset.act;
  if (act === "back") go("give");
  else if (act) close();
});
// Escape must not throw passwords away that nobody has taken.
dialog.addEventListener("cancel", (event) => {
  if (!untaken) return;
  event.preventDefault();
  close();
});
dialog.addEventListener("close", reset);
