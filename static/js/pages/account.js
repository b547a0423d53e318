// The account page: times in the reader's own zone, and the copying of a token that was just made.

import { closeMenus, copyFrom, localTimes } from "../lib/dom.js";
import "./notices.js";

closeMenus();
localTimes();

for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.querySelector(`[data-role="${button.dataset.copy}"]`);
  button.hidden = false;
  button.addEventListener("click", () => copyFrom(field));
}

document.querySelector("[data-new-token]")?.scrollIntoView({ block: "center" });
