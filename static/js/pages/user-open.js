// Opens the workspace by itself when it is ready, if the reader wants that; this browser remembers.
//
// Browsers open a tab only for a click, so one is opened at the click that starts. It shows a page
// of ours (open.js) that goes to the workspace by itself. The tabs know nothing of each other
// (noopener): what runs in a workspace is not ours, and must not lead this page anywhere.

import { role, setText } from "../lib/dom.js";
import { pageData, t } from "../lib/i18n.js";
import { CHANNEL, HERE, OPEN_ADDRESS } from "../lib/open-channel.js";

const HEARD_WITHIN_MS = 6000;
const KEY = `open-when-ready:${pageData.state.user.id}`;

const page = document.querySelector("[data-user]");
const tick = role(page, "open-soon-on");
const told = role(page, "open-soon-told");
const channel = "BroadcastChannel" in window ? new BroadcastChannel(CHANNEL) : null;

let asked = false;
let started = false;
let heard = false;
let late = false;

function remembered() {
  try {
    return localStorage.getItem(KEY) === "on";
  } catch {
    // A browser may forbid it: then it is off at each visit.
    return false;
  }
}

function remember() {
  try {
    localStorage.setItem(KEY, tick.checked ? "on" : "off");
  } catch {
    // It holds for this visit.
  }
}

function tell() {
  const silent = late ? t("user.open_soon.blocked") : "";
  setText(told, asked && started ? (heard ? t("user.open_soon.beside") : silent) : "");
}

/** Open the tab that waits, if it is wanted; must be called from a click. */
export function openSoon() {
  asked = tick.checked;
  started = heard = late = false;
  if (!asked) return;
  window.open(OPEN_ADDRESS, "_blank", "noopener");
  // Without a tie nobody says whether it was opened, but itself.
  setTimeout(() => {
    late = channel !== null;
    tell();
  }, HEARD_WITHIN_MS);
}

/** Say how it stands, and no more of it once nothing starts. */
export function showOpenSoon({ phase }) {
  if (phase !== "starting" && started) asked = false;
  started = phase === "starting";
  tell();
}

channel?.addEventListener("message", ({ data }) => {
  heard ||= data === HERE;
  tell();
});
tick.addEventListener("change", remember);
tick.checked = remembered();
role(page, "open-soon").removeAttribute("data-waits");
