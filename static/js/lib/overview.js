// The admins' overview: as it came with the page, then kept up by what is pushed.

import { OVERVIEW_DIFF_EVENT, OVERVIEW_EVENT, connect, follow as followView } from "./live.js";

/**
 * Call `render` with the overview now and after each change, and with the one before.
 * `more` has handlers of other events; gives the live connection.
 */
export function follow(first, render, more = {}) {
  let overview = null;

  function take(whole) {
    const before = overview;
    overview = whole;
    render(overview, before);
  }

  take(first);
  return connect({ ...followView(OVERVIEW_EVENT, OVERVIEW_DIFF_EVENT, take), ...more }, () => {});
}
