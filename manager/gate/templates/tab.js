// Part of every page of a workspace: leaves when somebody else opens a workspace here.
(() => {
  "use strict";
  // By this the page of the gate that comes before a new user's workspace knows who is still there.
  const PRESENT = `comfyui-manager.tab.${crypto.getRandomValues(new Uint32Array(2)).join("")}`;
  let leaving = false;
  const note = (work) => {
    try {
      work();
    } catch {
      // Storage may be full or switched off.
    }
  };
  note(() => localStorage.setItem(PRESENT, "1"));
  addEventListener("pagehide", () => note(() => localStorage.removeItem(PRESENT)));
  // Out of the browser's memory by its back button: it may be somebody else's workspace by now.
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  // The page must neither ask whether to stay nor save a draft on its way out.
  addEventListener("beforeunload", (event) => leaving && event.stopImmediatePropagation(), true);
  new BroadcastChannel("comfyui-manager").addEventListener("message", (event) => {
    if (event.data !== "leave" || leaving) return;
    leaving = true;
    location.replace("/.gate/left");
  });
})();
