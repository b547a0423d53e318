// Which users are seen, in which order: search, sort, pages, and who is chosen. Draws nothing.
// What comes by itself never moves a row: the order is made anew when the reader asks for it, or
// when somebody comes or goes.

import { t } from "../lib/i18n.js";

const LAST = Infinity;

let sorted = { by: "name", down: false };
let query = "";
let page = 0;
let order = [];
let known = "";

export const chosen = new Set();

export const stateRank = (user, works) => (works ? 0 : user.is_active ? (user.must_change_password ? 2 : 1) : 3);

/** What each column is sorted by; `index` is the place by name, as the server has it. */
const keys = {
  name: ({ index }) => index,
  role: ({ user }) => (user.is_admin ? 0 : 1),
  port: ({ user }) => user.assigned_port ?? LAST,
  status: ({ user, works }) => stateRank(user, works),
  hours: ({ seen }) => seen?.held_seconds ?? 0,
  disk: ({ user }) => user.disk_total ?? -1,
  last_login: ({ seen }) => seen?.last_login_at ?? 0,
  created: ({ user }) => user.created_at,
};

/** Of these the most comes first. */
const MOST_FIRST = ["hours", "disk", "last_login", "created"];

function wordsOf({ user, works }) {
  const role = t(user.is_admin ? "admin.users.role_admin" : "admin.users.role_user");
  const status = t(user.is_active ? "admin.users.active" : "admin.users.disabled");
  const port = [user.assigned_port, works].filter(Boolean).join(" ");
  return `${user.username} ${role} ${status} ${port}`.normalize("NFKC").toLocaleLowerCase();
}

function compare(one, other) {
  const [a, b] = [one, other].map(keys[sorted.by]);
  const found = a === b ? 0 : a < b ? -1 : 1;
  return (sorted.down ? -found : found) || one.index - other.index;
}

function makeOrder(items) {
  const parts = query.normalize("NFKC").toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const found = items.filter((item) => {
    const words = wordsOf(item);
    return parts.every((part) => words.includes(part));
  });
  order = found.sort(compare).map(({ user }) => String(user.id));
}

/** Give the ids to be seen now; `items`: `{user, seen, works, index}` of everybody. */
export function visible(items, size, { anew = false } = {}) {
  const now = items.map(({ user }) => user.id).join();
  if (anew || now !== known) makeOrder(items);
  known = now;
  const there = new Set(items.map(({ user }) => String(user.id)));
  for (const id of [...chosen]) if (!there.has(id)) chosen.delete(id);
  page = Math.max(0, Math.min(page, Math.ceil(order.length / size) - 1));
  const first = page * size;
  return { ids: order.slice(first, first + size), first: first + 1, found: order.length };
}

export const foundIds = () => order;
export const sorting = () => sorted;
export const searching = () => query !== "";

export function search(text) {
  query = text.trim();
  page = 0;
}

/** Sort by a column; the same one again turns the order around. */
export function sortBy(by, turn = true) {
  const down = turn && by === sorted.by ? !sorted.down : MOST_FIRST.includes(by);
  sorted = { by, down };
  page = 0;
}

export function turnPage(step) {
  page += step;
}

