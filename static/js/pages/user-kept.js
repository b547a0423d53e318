// Prompts that were left when an earlier session ended: offered, being sent, or sent again.

import { call, get } from "../lib/api.js";
import { momentText, role, setText, show } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

const page = document.querySelector("[data-user]");
const part = (name) => role(page, name);
const form = (name) => page.querySelector(`[data-form="${name}"]`);

/** Until they are dropped for good. A page that is closed before keeps them. */
const KEEP_MS = 10_000;

let listed = 0;
let dropTimer = 0;

function words(kept, running) {
  if (kept.state === "sending") return t("user.kept.sending", { sent: kept.sent, count: kept.sent + kept.waiting });
  if (kept.state !== "offered") return "";
  const offered = t("user.kept.offered", { count: kept.waiting, time: momentText(kept.saved_at) });
  return `${offered} ${t(running ? "user.kept.ask" : "user.kept.later")}`;
}

function result({ accepted, refused, lost }) {
  const parts = [t("user.kept.accepted", { count: accepted })];
  if (refused) parts.push(t("user.kept.refused", { count: refused }));
  if (lost) parts.push(t("user.kept.lost", { count: lost }));
  return parts.join(" ");
}

/** Show what is kept; null when nothing is. */
export function showKept({ kept, phase }) {
  show(part("kept"), Boolean(kept) && !dropTimer);
  if (!kept) return;
  const offered = kept.state === "offered";
  setText(part("kept-text"), words(kept, phase === "running"));
  show(part("kept-left-out"), kept.left_out > 0);
  setText(part("kept-left-out"), t("user.kept.left_out", { count: kept.left_out }));
  show(part("kept-result"), kept.sent > 0 && kept.state !== "sending");
  setText(part("kept-result"), result(kept));
  show(part("kept-refusal"), Boolean(kept.refusal));
  setText(part("kept-refusal"), kept.refusal);
  form("send-kept").toggleAttribute("data-offered", offered);
  show(form("send-kept"), offered && phase === "running");
  show(form("drop-kept"), kept.state !== "sending");
  setText(part("drop-text"), t(offered ? "user.kept.drop" : "user.kept.close"));
  show(part("kept-fold"), offered);
  if (part("kept-fold").open && listed !== kept.waiting) list(kept.waiting);
}

async function list(waiting) {
  listed = waiting;
  const { prompts } = await get("/api/user/kept-prompts").catch(() => ({ prompts: [] }));
  const rows = prompts.map((one) => {
    const row = document.createElement("li");
    row.textContent = t(one.was_running ? "user.kept.row_running" : "user.kept.row", { kinds: one.kinds.join(", ") || "–", nodes: one.nodes });
    return row;
  });
  part("kept-list").replaceChildren(...rows);
}

/** Make the buttons work; `act` sends a request and shows the state that comes back. */
export function wireKept(act) {
  form("send-kept").addEventListener("submit", (event) => {
    event.preventDefault();
    act("send-kept", () => call("POST", "/api/user/kept-prompts/send", {}));
  });
  const drop = () => act("drop-kept", () => call("DELETE", "/api/user/kept-prompts", {}));
  const keep = page.querySelector('[data-action="keep-kept"]');
  const settle = (kept) => {
    clearTimeout(dropTimer);
    dropTimer = 0;
    show(part("kept-dropped"), false);
    show(part("kept"), kept);
  };
  form("drop-kept").addEventListener("submit", (event) => {
    event.preventDefault();
    // What was sent already is only closed; what was not, could not be had back.
    if (form("send-kept").dataset.offered === undefined) {
      drop();
      return;
    }
    dropTimer = setTimeout(() => {
      settle(false);
      drop();
    }, KEEP_MS);
    show(part("kept"), false);
    show(part("kept-dropped"), true);
    keep.focus();
  });
  keep.addEventListener("click", () => {
    settle(true);
    form("drop-kept").querySelector("button").focus();
  });
  part("kept-fold").addEventListener("toggle", () => {
    if (part("kept-fold").open) list(-1);
  });
}
