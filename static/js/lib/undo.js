// «Done. Undo?»: a word for some seconds with the button that takes the act back. Others use it as
// `offerUndo(text, work)`; it is spoken, the keyboard reaches it, and Ctrl+Z presses the newest one.

import { setText, whileBusy } from "./dom.js";
import { t } from "./i18n.js";

const SHOWN_MS = 10_000;

const offers = [];

function close(offer) {
  clearTimeout(offer.timer);
  const index = offers.indexOf(offer);
  if (index < 0) return;
  offers.splice(index, 1);
  const had = offer.box.contains(document.activeElement);
  offer.box.remove();
  // The keyboard goes back to where it was.
  if (had && offer.from?.isConnected) offer.from.focus();
}

function wait(offer) {
  clearTimeout(offer.timer);
  offer.timer = setTimeout(() => close(offer), SHOWN_MS);
}

/** Say what was done and offer to undo it; `work` does so, and says itself what went wrong. */
export function offerUndo(text, work) {
  const offer = { box: document.createElement("div"), from: document.activeElement, timer: 0 };
  offer.box.className = "toast undo";
  const words = document.createElement("span");
  setText(words, text);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "undo-button";
  button.setAttribute("aria-keyshortcuts", "Control+Z");
  button.title = t("undo.key");
  setText(button, t("undo.undo"));
  offer.box.append(words, button);
  offer.press = () => whileBusy(button, async () => {
    clearTimeout(offer.timer);
    try {
      await work();
    } finally {
      close(offer);
    }
  });
  button.addEventListener("click", offer.press);
  // Whoever is about to press it has all the time.
  for (const kind of ["pointerenter", "focusin"]) offer.box.addEventListener(kind, () => clearTimeout(offer.timer));
  for (const kind of ["pointerleave", "focusout"]) offer.box.addEventListener(kind, () => wait(offer));
  document.querySelector("[data-toasts]").append(offer.box);
  offers.push(offer);
  wait(offer);
}

document.addEventListener("keydown", (event) => {
  if (!offers.length || event.target.closest?.("input, textarea, select, dialog")) return;
  const newest = offers.at(-1);
  if (event.key === "Escape") close(newest);
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    newest.press();
  }
});
