// Small helpers for the page. Everything is written as text, never as markup.

import { clock, moment } from "./format.js";
import { language, t } from "./i18n.js";

export const role = (root, name) => root.querySelector(`[data-role="${name}"]`);
export const field = (root, name) => root.querySelector(`[data-field="${name}"]`);

export function setText(element, text) {
  const value = String(text ?? "");
  if (element && element.textContent !== value) element.textContent = value;
}

export function show(element, visible) {
  if (element) element.hidden = !visible;
}

/** Put a point in time into an element; null empties it to a dash or to `empty`. */
export function setMoment(element, epoch, empty = "–") {
  if (epoch === null || epoch === undefined) {
    setText(element, empty);
    return;
  }
  const date = new Date(epoch * 1000);
  const iso = date.toISOString();
  if (element.firstElementChild?.dateTime === iso) return;
  const time = document.createElement("time");
  time.dateTime = iso;
  time.title = date.toLocaleString(language);
  time.textContent = moment(date, language);
  element.replaceChildren(time);
}

/** Put the times that the server wrote in UTC into the reader's zone. */
export function localTimes(root = document) {
  for (const time of root.querySelectorAll("time[data-time]")) {
    const date = new Date(time.dateTime);
    time.title = date.toLocaleString(language);
    setText(time, moment(date, language));
  }
}

/** A point in time as words, for a place inside a sentence. */
export const momentText = (epoch) => moment(new Date(epoch * 1000), language);

/** A moment as a date field takes it: in the reader's zone, without one. */
export function localMinute(epoch) {
  const date = new Date(epoch * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** Say in a sentence why something ended; empty where no kind is known. */
export function faultText({ fault_kind: kind, signal, exit_code: code }) {
  return kind ? t(`fault.${kind}`, { signal, code }) : "";
}

export function faultHint({ fault_kind: kind }) {
  return kind ? t(`fault.hint.${kind}`) : "";
}

export function setState(root, state) {
  const badge = role(root, "state");
  badge.dataset.state = state;
  setText(role(badge, "state-text"), t(`state.${state}`));
}

/** Say something that went wrong, where the page has a place for it. */
export function showProblem(place, message) {
  if (!place) return;
  if (!message) {
    place.replaceChildren();
    return;
  }
  const box = document.createElement("div");
  box.className = "notice";
  box.dataset.tone = "danger";
  const text = document.createElement("p");
  text.textContent = message;
  box.append(text);
  place.replaceChildren(box);
}

const TOAST_MS = 5000;
const UNDO_MS = 15_000;

/** Say something for a moment; `undo`: what its button says and does. It stays while in use. */
export function toast(message, undo = null) {
  const box = document.createElement("div");
  box.className = "toast";
  box.textContent = message;
  if (undo) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "toast-undo";
    button.textContent = undo.text;
    button.addEventListener("click", () => {
      box.remove();
      undo.run();
    });
    box.append(button);
  }
  document.querySelector("[data-toasts]").append(box);
  const leave = () => (box.matches(":hover, :focus-within") ? setTimeout(leave, TOAST_MS) : box.remove());
  setTimeout(leave, undo ? UNDO_MS : TOAST_MS);
}

/** Ask in the page's dialog; resolves to true when the dangerous button was chosen. */
export function ask(title, text, yes) {
  const dialog = document.querySelector("[data-confirm]");
  setText(role(dialog, "title"), title);
  setText(role(dialog, "text"), text);
  setText(role(dialog, "yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Copy a text field; tells whether it could. Only HTTPS and localhost have the clipboard itself. */
export async function copies(input) {
  input.focus();
  input.select();
  try {
    if (!navigator.clipboard) return document.execCommand("copy");
    await navigator.clipboard.writeText(input.value);
    return true;
  } catch {
    return false;
  }
}

/** Copy a text field and say so; where it cannot be, it stays selected. */
export async function copyFrom(input) {
  toast(t((await copies(input)) ? "common.copied" : "common.copy_failed"));
}

/** The buttons that copy what stands in a field of the page. */
export function copyButtons() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    const input = document.querySelector(`[data-role="${button.dataset.copy}"]`);
    button.hidden = false;
    button.addEventListener("click", () => copyFrom(input));
  }
}

/** Run `work` with the button marked as busy, so that a second click does nothing. */
export async function whileBusy(button, work) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } finally {
    button.removeAttribute("aria-busy");
  }
}

export function closeMenus() {
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("[data-menu][open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("[data-menu][open]")) menu.open = false;
  });
}

/** The buttons that show what was typed into a password field. */
export function revealPasswords() {
  for (const group of document.querySelectorAll("[data-password]")) {
    const button = group.querySelector("[data-reveal]");
    const input = group.querySelector("input");
    button.hidden = false;
    button.addEventListener("click", () => {
      const visible = input.type === "password";
      input.type = visible ? "text" : "password";
      button.setAttribute("aria-pressed", String(visible));
      button.setAttribute("aria-label", visible ? button.dataset.hide : button.dataset.show);
      const use = button.querySelector("use");
      const href = use.getAttribute("href").split("#")[0];
      use.setAttribute("href", `${href}#${visible ? "eye-slash-fill" : "eye-fill"}`);
    });
  }
}

export { clock };
