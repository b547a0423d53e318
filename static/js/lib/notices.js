// What everybody is told, on every page: that nothing is started, and announcements.
// The words of a page may be missing here, so the server wrote them into the section.

import { post } from "./api.js";
import { momentText, role, setText, show, showProblem, whileBusy } from "./dom.js";

const LONGEST_WAIT_MS = 24 * 3600 * 1000;

const section = document.querySelector("[data-notices]");
const list = role(section, "announcements");
const pattern = section.querySelector("template");
const chinese = document.documentElement.lang.startsWith("zh");

const given = JSON.parse(section.querySelector("script").textContent);

let { told } = given;
let timer = 0;

/** The text in the reader's language, or else the one there is. */
function words({ text }) {
  const [mine, other] = chinese ? ["zh", "en"] : ["en", "zh"];
  return text[mine] ? { said: text[mine], lang: "" } : { said: text[other], lang: other === "zh" ? "zh-CN" : "en" };
}

function write(row, one) {
  const { said, lang } = words(one);
  const warns = one.level === "warning";
  row.dataset.announcement = one.id;
  row.dataset.tone = warns ? "warning" : "plain";
  show(role(row, "warning-icon"), warns);
  show(role(row, "plain-icon"), !warns);
  setText(role(row, "text"), said);
  if (lang) role(row, "text").lang = lang;
  row.querySelector("input[name=id]").value = one.id;
  show(role(row, "put-away"), one.can_put_away);
}

function showMaintenance(one) {
  show(role(section, "maintenance"), Boolean(one));
  let until = "";
  if (one?.until) {
    const late = one.until * 1000 < Date.now();
    until = given.words[`notices.maintenance.${late ? "late" : "planned"}`].replace("{time}", momentText(one.until));
  }
  setText(role(section, "maintenance-until"), until);
  setText(role(section, "maintenance-reason"), one?.reason ?? "");
}

function render() {
  const now = Date.now();
  const current = told.announcements.filter(({ until }) => until === null || until * 1000 > now);
  const old = new Map([...list.children].map((row) => [row.dataset.announcement, row]));
  // Those that stay are not touched, or they would be read out again.
  current.forEach((one, index) => {
    const row = old.get(String(one.id)) ?? pattern.content.firstElementChild.cloneNode(true);
    old.delete(String(one.id));
    write(row, one);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  for (const row of old.values()) row.remove();
  showMaintenance(told.maintenance);
  show(section, Boolean(told.maintenance) || current.length > 0);
  const ends = [...current, told.maintenance].map((one) => (one?.until ?? Infinity) * 1000 - now).filter((ms) => ms > 0);
  clearTimeout(timer);
  timer = setTimeout(render, Math.min(LONGEST_WAIT_MS, ...ends) + 50);
}

export function showNotices(next) {
  told = next;
  render();
}

list.addEventListener("submit", async (event) => {
  event.preventDefault();
  const row = event.target.closest("[data-announcement]");
  await whileBusy(row.querySelector("button"), async () => {
    try {
      showNotices(await post(`/api/user/announcements/${row.dataset.announcement}/put-away`));
      // The pressed button is gone: the keyboard goes on at the page itself.
      document.querySelector("#main").focus({ preventScroll: true });
    } catch (error) {
      showProblem(document.querySelector("[data-problem], [data-page-problem]"), error.message);
    }
  });
});
render();
