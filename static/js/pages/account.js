// The account page: times in the reader's own zone, and the copying of a token that was just made.

import { closeMenus, copyButtons, localTimes, revealPasswords } from "../lib/dom.js";
import "./notices.js";

closeMenus();
localTimes();

copyButtons();
revealPasswords();

document.querySelector("[data-new-token]")?.scrollIntoView({ block: "center" });
