// The admins' page: load and gate here, ports and users in their own modules.

import { get } from "../lib/api.js";
import { closeMenus, localTimes, role, setText } from "../lib/dom.js";
import { bytes } from "../lib/format.js";
import { pageData, t } from "../lib/i18n.js";
import { OVERVIEW_DIFF_EVENT, OVERVIEW_EVENT, connect } from "../lib/live.js";
import { renderAttention } from "./admin-attention.js";
import { renderCards } from "./admin-cards.js";
import { renderPorts } from "./admin-ports.js";
import { renderUsers } from "./admin-users.js";

const HIGH_PERCENT = 85;

const page = document.querySelector("[data-admin]");
let overview = null;

function renderTile(name, percent, detail) {
  const tile = page.querySelector(`[data-load="${name}"]`);
  setText(role(tile, "percent"), percent);
  setText(role(tile, "detail"), detail);
  const bar = tile.querySelector("progress");
  bar.value = percent;
  bar.dataset.level = percent >= HIGH_PERCENT ? "high" : "normal";
}

function renderLoad(load) {
  if (!load) return;
  renderTile("cpu", load.cpu_percent, "");
  renderTile("memory", load.memory_percent, t("admin.load.memory_detail", { used: bytes(load.memory_used), total: bytes(load.memory_total) }));
  renderTile("disk", load.disk_percent, t("admin.load.disk_detail", { free: bytes(load.disk_free) }));
}

function renderGate(gate) {
  if (!gate) return;
  const tile = page.querySelector("[data-gate]");
  tile.dataset.gate = gate.running && !gate.problem ? "up" : "down";
  setText(role(tile, "gate-state"), t(gate.running ? "admin.gate.running" : "admin.gate.down"));
  setText(
    role(tile, "gate-detail"),
    gate.problem ? t("admin.gate.problem", gate) : t("admin.gate.version", gate),
  );
}

function render() {
  renderLoad(overview.load);
  renderGate(overview.gate);
  renderAttention(overview);
  renderPorts(overview.ports);
  renderCards(overview.cards);
  renderUsers(overview.users);
}

function take(whole) {
  overview = whole;
  render();
}

async function refetch() {
  await get("/api/admin/overview").then(take).catch(() => {});
}

function merge(diff) {
  if (diff.sequence !== overview.sequence + 1) {
    refetch();
    return;
  }
  const { ports = [], ...parts } = diff;
  overview = { ...overview, ...parts };
  overview.ports = overview.ports.map((old) => ports.find((port) => port.port === old.port) ?? old);
  render();
}

closeMenus();
localTimes();
take(pageData.overview);
connect({ [OVERVIEW_EVENT]: take, [OVERVIEW_DIFF_EVENT]: merge }, refetch);
