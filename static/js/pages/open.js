// The tab that waits for a start and then goes to the workspace by itself.
//
// It leaves no entry of its own in the tab's history (replace), has no opener and sends no Referer
// to another origin, so the workspace's address is seen by no more eyes than with the link.

import { closeMenus, role, setText, show } from "../lib/dom.js";
import { pageData, t } from "../lib/i18n.js";
import { STATE_DIFF_EVENT, STATE_EVENT, connect, follow } from "../lib/live.js";
import { showNotices } from "../lib/notices.js";
import { CHANNEL, HERE } from "../lib/open-channel.js";
import { countStart, showStart } from "./user-stages.js";

const ASKING_MS = 10_000;
const WAITS = ["starting", "waiting", "turn"];

const page = document.querySelector("[data-open]");
const part = (name) => role(page, name);
const began = performance.now();

let revision = 0;
let state = null;
let saw = false;
let gone = false;

/** Which face the page has. The start may have been asked for a moment later than this page. */
function faceOf({ phase, instance }) {
  if (instance?.workspace_url) return "going";
  if (WAITS.includes(phase)) return phase;
  return saw || performance.now() - began > ASKING_MS ? "over" : "asking";
}

function showFace() {
  const face = faceOf(state);
  saw ||= face === "starting";
  page.dataset.face = face;
  setText(part("headline"), t(`user.open_soon.headline.${face}`));
  setText(part("explain"), t(`user.open_soon.explain.${face}`));
  show(part("line-place"), face === "waiting");
  if (face === "waiting") setText(part("line-place"), t("user.line.place", state.line));
  document.title = `${t(`user.open_soon.headline.${face}`)} · ${t("user.open_soon.title")}`;
  showStart(state);
  show(part("go"), face === "going");
  if (face !== "going" || gone) return;
  gone = true;
  part("go").href = state.instance.workspace_url;
  location.replace(state.instance.workspace_url);
}

function render(next) {
  if (next.revision < revision) return;
  revision = next.revision;
  state = next;
  showNotices(state.notices);
  showFace();
}

if ("BroadcastChannel" in window) new BroadcastChannel(CHANNEL).postMessage(HERE);
closeMenus();
render(pageData.state);
if (!gone) {
  setInterval(() => {
    countStart();
    if (page.dataset.face === "asking") showFace();
  }, 1000);
  connect(follow(STATE_EVENT, STATE_DIFF_EVENT, render), () => {
    // Another manager may have begun meanwhile, by a clock that was set back.
    revision = 0;
  });
}
