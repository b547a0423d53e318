// The same for who may use the other pages too: it hears of notices as they do.

import "./notices.js";
import "./second-factor.js";
