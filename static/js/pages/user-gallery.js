// The user's pictures: pages of small ones, one by itself, its workflow, delete and undo.

import { call, get, post } from "../lib/api.js";
import { ask, copyFrom, field, momentText, role, setMoment, setText, show, showProblem, toast, whileBusy } from "../lib/dom.js";
import { bytes } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { whileSeen } from "../lib/usage.js";

const REFRESH_MS = 15_000;
const UNDO_MS = 12_000;
const OUTPUTS = "/api/user/outputs";

const panel = document.querySelector("[data-gallery]");
const viewer = document.querySelector("[data-viewer]");
const pattern = document.querySelector('[data-template="picture"]');
const list = role(panel, "pictures");
const problem = role(panel, "gallery-problem");
const action = (root, name) => root.querySelector(`[data-action="${name}"]`);
const query = (path, more = {}) => new URLSearchParams({ path, ...more }).toString();

let shown = JSON.parse(panel.dataset.listing);
let at = -1;
let undoTimer = 0;
let deleted = null;

function writePicture(item, one) {
  if (item.dataset.path === one.path && item.dataset.version === one.version) return;
  item.dataset.path = one.path;
  item.dataset.version = one.version;
  item.toggleAttribute("data-video", one.is_video);
  const open = field(item, "open");
  open.href = `${OUTPUTS}/file?${query(one.path, { v: one.version })}`;
  open.setAttribute("aria-label", t(one.is_video ? "user.gallery.open_video" : "user.gallery.open", one));
  const use = item.querySelector("use");
  use.setAttribute("href", `${use.getAttribute("href").split("#")[0]}#${one.is_video ? "film" : "image"}`);
  const small = field(item, "small");
  show(small, !one.is_video);
  if (one.is_video) small.removeAttribute("src");
  else small.src = `${OUTPUTS}/thumbnail?${query(one.path, { v: one.version })}`;
  setText(field(item, "name"), one.name);
  field(item, "name").title = one.path;
  setMoment(field(item, "changed_at"), one.changed_at);
}

function render(next) {
  shown = next;
  const { pictures, page, pages, total } = next;
  while (list.children.length > pictures.length) list.lastElementChild.remove();
  while (list.children.length < pictures.length) list.append(pattern.content.firstElementChild.cloneNode(true));
  pictures.forEach((one, index) => writePicture(list.children[index], one));
  show(list, total > 0);
  show(role(panel, "gallery-empty"), total === 0);
  show(role(panel, "gallery-count"), total > 0);
  setText(role(panel, "gallery-count"), t("user.gallery.count", { count: total }));
  show(role(panel, "gallery-cut"), next.cut);
  show(role(panel, "pager"), pages > 1);
  setText(role(panel, "gallery-page"), t("user.gallery.pages", { page, pages }));
  action(panel, "newer").disabled = page <= 1;
  action(panel, "older").disabled = page >= pages;
}

async function load(page) {
  list.setAttribute("aria-busy", "true");
  try {
    render(await get(`${OUTPUTS}?page=${page}`));
    showProblem(problem, "");
  } catch (error) {
    showProblem(problem, error.message);
  } finally {
    list.removeAttribute("aria-busy");
  }
}

function refresh() {
  // New pictures come only from a running instance.
  if (document.querySelector("[data-user]")?.dataset.phase === "running" && !viewer.open) load(shown.page);
}

async function showWorkflow() {
  const one = shown.pictures[at];
  const place = role(viewer, "workflow");
  const button = action(viewer, "viewer-workflow");
  if (!place.hidden) {
    show(place, false);
    button.setAttribute("aria-expanded", "false");
    return;
  }
  await whileBusy(button, async () => {
    try {
      const found = await get(`${OUTPUTS}/workflow?${query(one.path)}`);
      for (const part of place.querySelectorAll("[data-workflow]")) {
        const kind = part.dataset.workflow;
        show(part, found[kind] !== null);
        part.open = kind === "workflow" || found.workflow === null;
        part.querySelector("textarea").value = found[kind] === null ? "" : JSON.stringify(JSON.parse(found[kind]), null, 2);
        role(part, "workflow-file").href = `${OUTPUTS}/workflow?${query(one.path, { download: kind })}`;
      }
      show(role(viewer, "workflow-none"), found.workflow === null && found.prompt === null);
      show(place, true);
      button.setAttribute("aria-expanded", "true");
    } catch (error) {
      showProblem(role(viewer, "viewer-problem"), error.message);
    }
  });
}

function step(from, by) {
  let index = from + by;
  while (index >= 0 && index < shown.pictures.length && shown.pictures[index].is_video) index += by;
  return index >= 0 && index < shown.pictures.length ? index : -1;
}

function view(index) {
  at = index;
  const one = shown.pictures[at];
  const image = role(viewer, "viewer-image");
  setText(role(viewer, "viewer-name"), one.name);
  setText(role(viewer, "viewer-told"), t("user.gallery.loading"));
  setText(role(viewer, "viewer-facts"), `${momentText(one.changed_at)} · ${bytes(one.size)}`);
  show(image, false);
  image.alt = one.name;
  image.src = `${OUTPUTS}/file?${query(one.path, { v: one.version })}`;
  role(viewer, "viewer-download").href = `${OUTPUTS}/file?${query(one.path, { download: 1 })}`;
  show(role(viewer, "workflow"), false);
  action(viewer, "viewer-workflow").setAttribute("aria-expanded", "false");
  showProblem(role(viewer, "viewer-problem"), "");
  action(viewer, "viewer-previous").disabled = step(at, -1) < 0;
  action(viewer, "viewer-next").disabled = step(at, 1) < 0;
  if (!viewer.open) viewer.showModal();
}

function turn(by) {
  const next = step(at, by);
  if (next >= 0) view(next);
}

function offerUndo(gone) {
  deleted = gone;
  clearTimeout(undoTimer);
  setText(role(panel, "undo-text"), t("user.gallery.deleted", gone));
  show(role(panel, "undo"), true);
  undoTimer = setTimeout(() => show(role(panel, "undo"), false), UNDO_MS);
}

async function remove() {
  const one = shown.pictures[at];
  if (!(await ask(t("user.gallery.delete_confirm"), t("user.gallery.delete_text", one), t("user.gallery.delete")))) return;
  try {
    const { trash } = await call("DELETE", `${OUTPUTS}?${query(one.path)}`);
    viewer.close();
    offerUndo({ ...one, trash });
    await load(shown.page);
    action(panel, "undo").focus();
  } catch (error) {
    showProblem(role(viewer, "viewer-problem"), error.message);
  }
}

async function undo() {
  await whileBusy(action(panel, "undo"), async () => {
    try {
      await post(`${OUTPUTS}/restore`, { path: deleted.path, trash: deleted.trash });
      toast(t("user.gallery.restored", deleted));
      show(role(panel, "undo"), false);
      await load(shown.page);
      list.querySelector("a")?.focus();
    } catch (error) {
      showProblem(problem, error.message);
    }
  });
}

list.addEventListener("click", (event) => {
  const item = event.target.closest("[data-picture]");
  // A film is saved, and who wants another tab gets one.
  if (!item || !event.target.closest("a") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const index = shown.pictures.findIndex((one) => one.path === item.dataset.path);
  if (index < 0 || shown.pictures[index].is_video) return;
  event.preventDefault();
  view(index);
});
// A picture that no small one can be made of keeps its icon. The event does not bubble.
list.addEventListener("error", (event) => show(event.target, false), true);
list.addEventListener("load", (event) => show(event.target, true), true);
viewer.addEventListener("keydown", (event) => {
  if (event.target.closest("textarea")) return;
  if (event.key === "ArrowLeft") turn(-1);
  if (event.key === "ArrowRight") turn(1);
});
viewer.addEventListener("close", () => {
  list.children[at]?.querySelector("a").focus();
});
role(viewer, "viewer-image").addEventListener("load", (event) => {
  show(event.target, true);
  setText(role(viewer, "viewer-told"), "");
});
role(viewer, "viewer-image").addEventListener("error", () => setText(role(viewer, "viewer-told"), t("user.gallery.broken")));
action(viewer, "viewer-previous").addEventListener("click", () => turn(-1));
action(viewer, "viewer-next").addEventListener("click", () => turn(1));
action(viewer, "viewer-delete").addEventListener("click", remove);
action(viewer, "viewer-workflow").addEventListener("click", showWorkflow);
for (const part of viewer.querySelectorAll("[data-workflow]")) {
  action(part, "copy-workflow").addEventListener("click", () => copyFrom(part.querySelector("textarea")));
}
action(panel, "newer").addEventListener("click", () => load(shown.page - 1));
action(panel, "older").addEventListener("click", () => load(shown.page + 1));
action(panel, "undo").addEventListener("click", undo);

whileSeen(refresh, REFRESH_MS);
// What failed to load before this script was there.
for (const small of list.querySelectorAll("img[src]")) {
  if (small.complete && small.naturalWidth === 0) show(small, false);
}
render(shown);
