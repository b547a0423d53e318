// What the page that starts and the tab that waits know of each other; of our own origin alone.

export const CHANNEL = "open-when-ready";
export const HERE = "here";
export const OPEN_ADDRESS = "/open";
