// Words for the record of use, as the server's "duration" filter writes them, and rows of tables.

import { t } from "./i18n.js";

export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return t("common.seconds", { count: whole });
  if (whole < 3600) return t("common.minutes", { count: Math.floor(whole / 60) });
  const tenths = Math.floor(whole / 360);
  return t("common.hours", { count: `${Math.floor(tenths / 10)}.${tenths % 10}` });
}

/** Make `list` hold one row for each of `items`, written by `write`. */
export function fillRows(list, template, items, write) {
  while (list.children.length > items.length) list.lastElementChild.remove();
  while (list.children.length < items.length) {
    const pattern = template.content.querySelector("tr") ?? template.content.firstElementChild;
    list.append(pattern.cloneNode(true));
  }
  items.forEach((item, index) => write(list.children[index], item));
}

/** Call `work` now and then while somebody looks. */
export function whileSeen(work, everyMs) {
  setInterval(() => {
    if (!document.hidden) work();
  }, everyMs);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) work();
  });
}
