// The form for a new password: shows it on wish.

import { closeMenus, revealPasswords } from "../lib/dom.js";

revealPasswords();
closeMenus();
