// The admins' page: load and gate here, ports and users in their own modules.

import { closeMenus, localTimes, role, setText } from "../lib/dom.js";
import { bytes } from "../lib/format.js";
import { pageData, t } from "../lib/i18n.js";
import { STATE_DIFF_EVENT, STATE_EVENT, follow as followView } from "../lib/live.js";
import { showNotices } from "../lib/notices.js";
import { follow } from "../lib/overview.js";
import { renderAttention } from "./admin-attention.js";
import "./admin-card-history.js";
import { renderCards } from "./admin-cards.js";
import "./admin-doctor.js";
import { renderLimits } from "./admin-limits.js";
import { renderLine } from "./admin-line.js";
import { renderNodes } from "./admin-nodes.js";
import { renderPorts } from "./admin-ports.js";
import { renderReservations } from "./admin-reservations.js";
import "./admin-import.js";
import { renderService } from "./admin-service.js";
import "./admin-usage.js";
import { renderUsers } from "./admin-users.js";

const HIGH_PERCENT = 85;

const page = document.querySelector("[data-admin]");

function renderTile(name, percent, detail) {
  const tile = page.querySelector(`[data-load="${name}"]`);
  // One text with its sign: nothing beside it is moved when it gets wider.
  setText(role(tile, "percent"), `${percent} %`);
  setText(role(tile, "detail"), detail);
  const bar = tile.querySelector("progress");
  bar.value = percent;
  bar.dataset.level = percent >= HIGH_PERCENT ? "high" : "normal";
}

function renderLoad(load) {
  if (!load) return;
  renderTile("cpu", load.cpu_percent, t(load.slowdown > 1 ? "admin.load.slowed" : "admin.load.normal", load));
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

/** Write what is new since `before`; hundreds of users are not gone through each second. */
function render(overview, before) {
  const isNew = (...names) => names.some((name) => before?.[name] !== overview[name]);
  renderLoad(overview.load);
  renderGate(overview.gate);
  renderAttention(overview);
  renderService(overview.service);
  if (isNew("ports")) renderPorts(overview.ports);
  renderReservations(overview);
  renderLine(overview.line);
  if (isNew("cluster")) renderNodes(overview.cluster);
  if (isNew("cards")) renderCards(overview.cards);
  if (isNew("users", "limits")) renderLimits(overview.limits);
  if (isNew("users", "limits", "ports", "line")) renderUsers(overview);
}

closeMenus();
localTimes();
follow(pageData.overview, render, followView(STATE_EVENT, STATE_DIFF_EVENT, (state) => showNotices(state.notices)));
