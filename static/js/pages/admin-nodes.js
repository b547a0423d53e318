// The machines of a cluster: which are there, and how many of their cards are held.

import { field, momentText, role, setText, show } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

const panel = document.querySelector("[data-nodes]");
const list = panel && role(panel, "nodes");
const pattern = document.querySelector('[data-template="node"]');

function writeNode(row, one) {
  row.dataset.node = one.name;
  row.dataset.standing = one.standing;
  setText(field(row, "name"), one.name);
  setText(field(row, "host"), one.host);
  setText(field(row, "standing"), t(`admin.nodes.standing.${one.standing}`));
  setText(field(row, "why"), one.why);
  setText(field(row, "cards"), t(one.held === null ? "admin.nodes.held_unknown" : "admin.nodes.held", one));
  setText(field(row, "level"), t(one.level ? `admin.isolation.level.${one.level}` : "admin.nodes.unknown"));
}

function engineText({ kind, version, guarded }) {
  const name = [t(`admin.nodes.engine.${kind}`), version].filter(Boolean).join(" ");
  if (guarded === null) return `${name} · ${t("admin.nodes.not_heard")}`;
  return `${name} · ${t(guarded ? "admin.nodes.guarded" : "admin.nodes.unguarded")}`;
}

export function renderNodes(cluster) {
  if (!panel || !cluster) return;
  const { nodes, silent_since: since } = cluster;
  setText(role(panel, "engine"), engineText(cluster));
  show(role(panel, "engine-silent"), !cluster.answers);
  const when = since === null ? t("admin.nodes.not_heard") : t("admin.nodes.silent_since", { time: momentText(since) });
  setText(role(panel, "engine-silent-since"), when);
  show(role(panel, "engine-open"), cluster.guarded === false);
  while (list.children.length > nodes.length) list.lastElementChild.remove();
  while (list.children.length < nodes.length) list.append(pattern.content.firstElementChild.cloneNode(true));
  nodes.forEach((one, index) => writeNode(list.children[index], one));
}
