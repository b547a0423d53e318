// The live connection: events of manager/web/live.py as DOM events, and a bar while it is lost.

import { io } from "../../vendor/socket.io-4.8.4.esm.min.js";
import { get } from "./api.js";
import { show } from "./dom.js";

export const STATE_EVENT = "state";
export const OVERVIEW_EVENT = "overview";
export const OVERVIEW_DIFF_EVENT = "overview_diff";

const LOST_AFTER_MS = 1500;
const COME_BACK_MS = 2000;

/** Connect; `handlers` maps event names to functions, `refetch` is called after every gap. */
export function connect(handlers, refetch) {
  const bar = document.querySelector("[data-connection]");
  const socket = io({ transports: ["websocket", "polling"], reconnectionDelayMax: 5000 });
  let timer = 0;
  let wasLost = false;

  const lost = () => {
    wasLost = true;
    // A blink is not worth a word.
    if (!timer) timer = setTimeout(() => show(bar, true), LOST_AFTER_MS);
  };

  socket.on("connect", () => {
    clearTimeout(timer);
    timer = 0;
    show(bar, false);
    if (wasLost) refetch();
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
    if (error.message === "not_authenticated") setTimeout(comeBack, COME_BACK_MS);
  });
  for (const [name, handler] of Object.entries(handlers)) socket.on(name, handler);
  return socket;
}
