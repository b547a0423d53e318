// A log that is followed, searched, copied and saved; the markup is that of templates/_log.html.

import { copies, role, setText } from "./dom.js";
import { t } from "./i18n.js";
import { grown, patternOf, pieces } from "./log-text.js";

export const LOG_BYTES = 262_144;

const MOST_LINES = 10_000;
const MOST_MARKS = 2000;
const SEARCH_AFTER_MS = 120;
const AT_END_PX = 40;

/** The end of a log from `address`; an answer without a text says that nothing is new. */
export const logAddress = (address, known) => `${address}?${new URLSearchParams({ bytes: LOG_BYTES, known })}`;

/**
 * Make the log in a part of the page work. `read` is given the tag of the text that is shown and answers with `log` and
 * `tag`. Gives `refresh`, to look again, and `reset`, for another log whose file is at `file`.
 */
export function logView(within, read) {
  const root = within.querySelector("[data-log-view]");
  const part = (name) => role(root, name);
  const button = (name) => root.querySelector(`[data-action="log-${name}"]`);
  const place = part("log");
  const search = part("log-search");

  let shown = "";
  let tag = "";
  let round = 0;
  // Whether the words below end with the next answer.
  let owed = true;
  let marked = 0;
  let more = false;
  let pattern = null;
  let timer = 0;

  const atEnd = () => place.scrollHeight - place.scrollTop - place.clientHeight < AT_END_PX;
  const current = () => place.querySelector("mark[data-current]");

  function keepEnd() {
    if (part("log-follow").checked) place.scrollTop = place.scrollHeight;
  }

  function paint(line) {
    const text = line.textContent;
    const cut = pattern ? pieces(text, pattern) : [text];
    line.toggleAttribute("data-hit", cut.length > 1);
    if (cut.length === 1) return;
    more ||= marked >= MOST_MARKS;
    if (marked >= MOST_MARKS) return;
    marked += (cut.length - 1) / 2;
    line.replaceChildren(...cut.map((piece, index) => (index % 2 ? mark(piece) : piece)));
  }

  function mark(text) {
    const element = document.createElement("mark");
    element.textContent = text;
    return element;
  }

  const marks = () => [...place.querySelectorAll("mark")];

  function count() {
    const at = current();
    const all = marks();
    const key = more ? "common.log.count_more" : "common.log.count";
    const told = all.length ? t(key, { at: at ? all.indexOf(at) + 1 : "–", count: more ? MOST_MARKS : all.length }) : t("common.log.none");
    setText(part("log-count"), pattern ? told : "");
    for (const name of ["previous", "next"]) button(name).disabled = !all.length;
  }

  function go(next) {
    current()?.removeAttribute("data-current");
    if (next) {
      next.dataset.current = "";
      const [its, ours] = [next.getBoundingClientRect(), place.getBoundingClientRect()];
      if (its.top < ours.top || its.bottom > ours.bottom) place.scrollTop += its.top - ours.top - place.clientHeight / 2;
    }
    count();
  }

  function turn(by) {
    const all = marks();
    const at = all.indexOf(current());
    if (all.length) go(all[at < 0 ? (by > 0 ? 0 : all.length - 1) : (at + by + all.length) % all.length]);
  }

  function find() {
    clearTimeout(timer);
    pattern = patternOf(search.value);
    marked = 0;
    more = false;
    for (const line of place.querySelectorAll(".log-line:has(mark)")) line.replaceChildren(line.textContent);
    // From the newest: of very many only those are marked.
    [...place.children].reverse().forEach(paint);
    root.toggleAttribute("data-only", Boolean(pattern) && part("log-only").checked);
    const top = place.getBoundingClientRect().top;
    const all = marks();
    go(all.find((one) => one.getBoundingClientRect().top >= top) ?? all.at(-1));
    if (!pattern) keepEnd();
  }

  function append(text) {
    if (place.hasAttribute("data-empty")) place.replaceChildren();
    place.removeAttribute("data-empty");
    const [first, ...rest] = text.split("\n");
    const fresh = rest.map(lineOf);
    const last = place.lastElementChild;
    if (last) {
      // Its marks are made anew.
      marked -= last.childElementCount;
      last.textContent += first;
      fresh.unshift(last);
    } else fresh.unshift(lineOf(first));
    place.append(...fresh);
    for (let over = place.childElementCount - MOST_LINES; over > 0; over -= 1) place.firstElementChild.remove();
    if (!pattern) return;
    fresh.forEach(paint);
    if (current()) count();
    else go(marks().at(-1));
  }

  function lineOf(text) {
    const line = document.createElement("span");
    line.className = "log-line";
    line.textContent = text;
    return line;
  }

  function take(text) {
    const added = place.hasAttribute("data-empty") ? null : grown(shown, text);
    shown = text;
    if (added === "") return;
    if (added === null) {
      place.replaceChildren();
      marked = 0;
    }
    if (text) append(added ?? text);
    else {
      place.dataset.empty = "";
      place.replaceChildren(lineOf(t("common.log_empty")));
    }
    keepEnd();
  }

  /** Look again; what went wrong is said below, and what is shown stays. */
  async function refresh() {
    round += 1;
    const mine = round;
    try {
      const answer = await read(tag);
      if (mine !== round) return;
      tag = answer.tag;
      if (answer.log !== null) take(answer.log);
      // What was said of a copy stays: the next look would wipe it away unread.
      if (owed) setText(part("log-told"), "");
      owed = false;
    } catch (error) {
      if (mine !== round) return;
      owed = true;
      setText(part("log-told"), error.message);
    }
  }

  function reset(file) {
    round += 1;
    shown = tag = search.value = "";
    part("log-only").checked = false;
    part("log-follow").checked = true;
    part("log-file").href = file;
    place.replaceChildren();
    owed = true;
    setText(part("log-told"), t("common.log.loading"));
    find();
  }

  async function copy() {
    const lines = [...place.children].filter((line) => !root.hasAttribute("data-only") || line.hasAttribute("data-hit"));
    const field = document.createElement("textarea");
    field.className = "visually-hidden";
    field.value = place.hasAttribute("data-empty") ? "" : lines.map((line) => line.textContent).join("\n");
    root.append(field);
    const done = await copies(field);
    field.remove();
    button("copy").focus();
    setText(part("log-told"), t(done ? "common.log.copied" : "common.copy_failed"));
  }

  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, SEARCH_AFTER_MS);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      // In a dialog it would press the button that closes it.
      event.preventDefault();
      if (pattern?.source !== patternOf(search.value)?.source) find();
      else turn(event.shiftKey ? -1 : 1);
    }
    if (event.key === "Escape" && search.value) {
      event.preventDefault();
      event.stopPropagation();
      search.value = "";
      find();
    }
  });
  button("previous").addEventListener("click", () => turn(-1));
  button("next").addEventListener("click", () => turn(1));
  button("copy").addEventListener("click", copy);
  part("log-only").addEventListener("change", find);
  part("log-follow").addEventListener("change", keepEnd);
  // Who scrolls up wants to read; who comes back to the end wants what follows.
  place.addEventListener("scroll", () => {
    part("log-follow").checked = atEnd();
  });
  setText(part("log-told"), t("common.log.loading"));
  return { refresh, reset };
}
