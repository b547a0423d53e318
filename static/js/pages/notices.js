// Pages that have nothing else live still hear at once what everybody is told.

import { STATE_DIFF_EVENT, STATE_EVENT, connect, follow } from "../lib/live.js";
import { showNotices } from "../lib/notices.js";

connect(follow(STATE_EVENT, STATE_DIFF_EVENT, ({ notices }) => showNotices(notices)), () => {});
