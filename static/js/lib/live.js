// The live connection: events of manager/web/live.py as views put together, and a bar while it is lost.

import { io } from "../../vendor/socket.io-4.8.4.esm.min.js";
import { get } from "./api.js";
import { show } from "./dom.js";

export const STATE_EVENT = "state";
export const STATE_DIFF_EVENT = "state_diff";
export const OVERVIEW_EVENT = "overview";
export const OVERVIEW_DIFF_EVENT = "overview_diff";

// Lists that are told one by one, by the field that each is known by; manager/web/differences.py.
const KEYED = { ports: "port", cards: "card" };

const LOST_AFTER_MS = 1500;
const COME_BACK_MS = 2000;
/** How soon a page asks again that is one too many of its login. */
const CROWDED_AGAIN_MS = 15000;
/** Shorter than what the bar waits for: a page that only starts anew says nothing of it. */
const ANEW_AFTER_MS = 500;

const isView = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function mergeList(before, changes, key) {
  const changed = new Map(changes.map((one) => [one[key], one]));
  return before.map((one) => (changed.has(one[key]) ? { ...one, ...changed.get(one[key]) } : one));
}

/** Put a whole and a difference together; parts that did not change stay the same objects. */
export function merge(whole, difference) {
  const merged = { ...whole };
  for (const [name, value] of Object.entries(difference)) {
    const before = whole[name];
    if (isView(value) && isView(before)) merged[name] = { ...before, ...value };
    else if (name in KEYED && Array.isArray(value) && Array.isArray(before)) merged[name] = mergeList(before, value, KEYED[name]);
    else merged[name] = value;
  }
  return merged;
}

/** Handlers for `connect` that follow one view: `take` gets it whole after each event. */
export function follow(wholeEvent, differenceEvent, take) {
  let known = null;
  return {
    [wholeEvent]: (whole) => {
      known = whole;
      take(known);
    },
    [differenceEvent]: (difference, anew) => {
      if (difference.sequence !== known?.sequence + 1) {
        // Something was missed: whoever connects is told everything.
        known = null;
        anew();
        return;
      }
      known = merge(known, difference);
      take(known);
    },
  };
}

/** Connect; `handlers` maps event names to functions, `gone` is called when a gap begins. */
export function connect(handlers, gone) {
  const bar = document.querySelector("[data-connection]");
  const crowded = document.querySelector("[data-crowded]");
  const socket = io({ transports: ["websocket", "polling"], reconnectionDelayMax: 5000 });
  let timer = 0;
  let wasLost = false;

  const lost = () => {
    // Now, not when it is back: what is told then comes before the library says that it is.
    if (!wasLost) gone();
    wasLost = true;
    // A blink is not worth a word.
    if (!timer) timer = setTimeout(() => show(bar, true), LOST_AFTER_MS);
  };
  const anew = () => {
    if (!socket.connected) return;
    socket.disconnect();
    setTimeout(() => socket.connect(), ANEW_AFTER_MS);
  };

  socket.on("connect", () => {
    clearTimeout(timer);
    timer = 0;
    show(bar, false);
    show(crowded, false);
    wasLost = false;
  });
  // Told to go, the library does not come back by itself. Either the session ended, then the
  // question leads to the login page; or rights changed or the server restarts, then come again.
  const comeBack = async () => {
    try {
      await get("/api/user/state");
      socket.connect();
    } catch (error) {
      if (![401, 403].includes(error.status)) setTimeout(comeBack, COME_BACK_MS);
    }
  };
  socket.on("disconnect", (reason) => {
    lost();
    if (reason === "io server disconnect") comeBack();
  });
  socket.on("connect_error", (error) => {
    lost();
    if (error.message === "too_many_pages") {
      clearTimeout(timer);
      timer = 0;
      show(bar, false);
      show(crowded, true);
      setTimeout(() => socket.connect(), CROWDED_AGAIN_MS);
      return;
    }
    if (error.message === "not_authenticated") setTimeout(comeBack, COME_BACK_MS);
  });
  for (const [name, handler] of Object.entries(handlers)) socket.on(name, (content) => handler(content, anew));
  return socket;
}
