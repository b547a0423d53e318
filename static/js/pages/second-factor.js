// The page of a second factor: shows the password on wish, copies the secret and recovery codes.

import { closeMenus, copyButtons, localTimes, revealPasswords } from "../lib/dom.js";

revealPasswords();
closeMenus();
localTimes();
copyButtons();
