// The form for a new password, for who may use the other pages too: it hears of notices as they do.

import "./notices.js";
import "./password.js";
