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

let timer = 0;

function words({ known, under_way: underWay }) {
  if (underWay) return t("user.disk.counting");
  return known ? t("user.disk.taken_at", { time: momentText(known.taken_at) }) : t("user.disk.not_yet");
}

function render(disk) {
  const { known } = disk;
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
