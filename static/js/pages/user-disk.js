// What the user's folders take on the disk.

import { get } from "../lib/api.js";
import { field, momentText, role, setText, show } from "../lib/dom.js";
import { bytes } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { whileSeen } from "../lib/usage.js";

const REFRESH_MS = 60_000;
const SOON_MS = 3000;

const panel = document.querySelector("[data-own-disk]");
const part = (name) => role(panel, name);

const notice = (name) => role(document.querySelector("[data-user]"), name);

let timer = 0;
let lastUsed;

function words({ known, under_way: underWay }) {
  if (underWay) return t("user.disk.counting");
  return known ? t("user.disk.taken_at", { time: momentText(known.taken_at) }) : t("user.disk.not_yet");
}

function showWarning(warned) {
  show(notice("disk-warning"), Boolean(warned));
  if (!warned) return;
  notice("disk-warning").dataset.tone = warned.over ? "danger" : "warning";
  setText(notice("disk-warning-text"), t(`user.disk.warning.${warned.over ? "over" : "near"}`, { share: warned.share, limit: bytes(warned.limit) }));
  setText(notice("disk-warning-biggest"), t("user.disk.warning.biggest", { folder: t(`user.disk.folder.${warned.biggest}`), size: bytes(warned.size) }));
  setText(notice("disk-warning-do"), t(`user.disk.warning.do.${warned.biggest === "output" ? "output" : "other"}`));
}

/** Why the user may not start, in a sentence; for the page's main words. */
export function explainDisk({ limits }) {
  return t("user.explain.disk_full", { used: bytes(limits.disk_used), limit: bytes(limits.disk_limit) });
}

/** Look anew where what was counted has changed. */
export function reloadDisk({ limits }) {
  if (lastUsed !== undefined && limits.disk_used !== lastUsed) load();
  lastUsed = limits.disk_used;
}

function render(disk) {
  const { known } = disk;
  showWarning(disk.warning);
  show(panel, disk.there);
  show(part("disk-total"), Boolean(known));
  show(part("disk-folders"), Boolean(known));
  setText(part("disk-told"), words(disk));
  // What is looked for just now will be there in a moment.
  clearTimeout(timer);
  if (disk.there && (disk.under_way || !known)) timer = setTimeout(load, SOON_MS);
  if (!known) return;
  setText(part("disk-total"), t(known.complete ? "user.disk.total" : "user.disk.at_least", { total: bytes(known.total) }));
  for (const [name, size] of Object.entries(known.folders)) {
    const row = panel.querySelector(`[data-folder="${name}"]`);
    setText(field(row, "size"), bytes(size));
    field(row, "share").value = known.total ? Math.round((100 * size) / known.total) : 0;
  }
}

function load() {
  if (!document.hidden) get("/api/user/disk").then(render).catch(() => {});
}

whileSeen(load, REFRESH_MS);
load();
