// A word outside of the page, for whoever looks elsewhere. Only if the reader said yes before.
// Browsers offer it on HTTPS and localhost alone; elsewhere the page and its title have to do.

const there = () => "Notification" in window && window.isSecureContext;

/** Ask for leave, once; must be called from a click. */
export function askForNotifications() {
  if (there() && Notification.permission === "default") Notification.requestPermission().catch(() => {});
}

/** Show a notification without a sound; a click on it brings the page back. */
export function notify(title, body, tag = "turn") {
  if (!there() || Notification.permission !== "granted") return;
  try {
    const shown = new Notification(title, { body, tag, silent: true });
    shown.addEventListener("click", () => {
      window.focus();
      shown.close();
    });
  } catch {
    // Some phones let only service workers show one.
  }
}
