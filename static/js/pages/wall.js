// The cards for a screen on a wall: writes into each tile what wall.html wrote, as it changes.

import { field, momentText, role, setText, show } from "../lib/dom.js";
import { bytes, clock } from "../lib/format.js";
import { language, pageData, t } from "../lib/i18n.js";
import { STATE_DIFF_EVENT, STATE_EVENT, follow as followView } from "../lib/live.js";
import { showNotices } from "../lib/notices.js";
import { follow } from "../lib/overview.js";

const HELD = ["starting", "running", "stopping"];
const MANY_PERCENT = 85;

const page = document.querySelector("[data-wall]");
const places = role(page, "line");
const pattern = document.querySelector('[data-template="waiting"]');
const cardName = (card) => t("card.label", { card });

function doingText({ state, running, pending, progress, idle_seconds: idle, idle_timeout: timeout }) {
  if (state !== "running") return "";
  if (running === null) return t("wall.doing.unknown");
  if (running) {
    const work = progress?.told ? t("wall.doing.work", { percent: progress.percent, node: progress.node || "–" }) : t("wall.doing.busy");
    return pending ? `${work} · ${t("wall.doing.pending", { count: pending })}` : work;
  }
  return idle === null ? "" : t("wall.doing.idle", { idle: clock(idle), timeout: clock(timeout) });
}

function writeDoing(tile, port) {
  show(field(tile, "doing"), port.state === "running");
  setText(field(tile, "doing_text"), doingText(port));
  const bar = field(tile, "doing_bar");
  const works = port.state === "running" && port.running > 0 && Boolean(port.progress?.told);
  const idles = port.state === "running" && port.running === 0 && port.idle_left !== null;
  show(bar, works || idles);
  bar.dataset.kind = works ? "work" : "idle";
  bar.max = works ? 100 : port.idle_timeout;
  if (works) bar.value = port.progress.percent;
  else bar.value = idles ? Math.max(0, port.idle_timeout - port.idle_left) : 0;
}

function noteText({ note }) {
  if (!note) return "";
  const time = note.at === null ? "" : momentText(note.at);
  const said = t(`wall.note.${note.kind}`, { text: note.text, time });
  const ends = time && ["reserved", "out_of_use"].includes(note.kind);
  return ends ? `${said} · ${t("wall.until", { time })}` : said;
}

function writeMeter(tile, name, value, most, text) {
  show(field(tile, name), text !== "");
  const bar = field(tile, `${name}_bar`);
  bar.max = most;
  bar.value = value;
  setText(field(tile, `${name}_text`), text);
}

function silentText(port, card) {
  if (card.node) return t("wall.elsewhere", { kind: port.card_label });
  if (!card.measured) return t("wall.not_measured", { kind: port.card_label });
  if (!card.looked) return t("admin.cards.not_looked");
  return card.memory_total === null && card.utilisation === null ? t("wall.no_values") : "";
}

function writeCard(tile, port, card) {
  const { utilisation: use, memory_used: used, memory_total: total } = card;
  writeMeter(tile, "use", use ?? 0, 100, use === null ? "" : t("wall.percent", { percent: use }));
  const memory = total === null ? "" : t("wall.memory_value", { used: bytes(used ?? 0), total: bytes(total) });
  writeMeter(tile, "memory", used ?? 0, total ?? 1, memory);
  const values = [];
  if (card.temperature !== null) values.push(t("admin.cards.temperature", { degrees: card.temperature }));
  if (card.power !== null) values.push(t("admin.cards.power", { watts: card.power }));
  setText(field(tile, "values"), values.join(" · "));
  setText(field(tile, "silent"), silentText(port, card));
}

function writeTile(port, card) {
  const tile = page.querySelector(`[data-tile="${port.port}"]`);
  if (!tile) return;
  if (port.node) setText(field(tile, "node"), port.node === "any" ? t("card.any") : port.node);
  const held = HELD.includes(port.state);
  const standing = t(`wall.standing.${port.standing}`);
  tile.dataset.standing = port.standing;
  show(field(tile, "standing"), held);
  setText(field(tile, "standing"), standing);
  setText(field(tile, "who"), held ? port.username : standing);
  setText(field(tile, "since"), held && port.started_at ? t("wall.since", { time: momentText(port.started_at) }) : "");
  writeDoing(tile, port);
  setText(field(tile, "note"), noteText(port));
  writeCard(tile, port, card);
  setText(field(tile, "next_up"), held && port.next_up ? t("wall.next", { username: port.next_up }) : "");
}

function aboutText(one, ports) {
  if (one.offered_port !== null) {
    const { card } = ports.find((port) => port.port === one.offered_port);
    return t("wall.line.offered", { card: cardName(card) });
  }
  return one.estimate ? t(`wall.line.estimate.${one.estimate.form}`, one.estimate) : t("wall.line.unknown");
}

function writeLine(line, ports) {
  while (places.children.length > line.length) places.lastElementChild.remove();
  while (places.children.length < line.length) places.append(pattern.content.firstElementChild.cloneNode(true));
  line.forEach((one, index) => {
    const row = places.children[index];
    row.dataset.waiting = one.user_id;
    row.toggleAttribute("data-turn", one.offered_port !== null);
    setText(field(row, "name"), one.username);
    setText(field(row, "about"), aboutText(one, ports));
  });
  show(places, line.length > 0);
  show(role(page, "line-empty"), line.length === 0);
  setText(role(page, "line-count"), line.length);
}

function writeHead({ ports, load, gate }) {
  const used = ports.filter((port) => HELD.includes(port.state)).length;
  const free = ports.filter((port) => port.standing === "free").length;
  setText(role(page, "sum"), t("wall.sum", { used, total: ports.length, free }));
  for (const part of load ? page.querySelectorAll("[data-load]") : []) {
    const percent = load[`${part.dataset.load}_percent`];
    part.dataset.level = percent >= MANY_PERCENT ? "high" : "normal";
    setText(role(part, "percent"), `${percent} %`);
  }
  setText(role(page, "alarm"), gate && !gate.running ? `${t("admin.gate.title")}: ${t("admin.gate.down")}` : "");
}

function render(overview) {
  const cards = new Map(overview.cards.map((card) => [card.card, card]));
  for (const port of overview.ports) writeTile(port, cards.get(port.card));
  writeLine(overview.line, overview.ports);
  writeHead(overview);
}

function tick() {
  const time = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
  setText(role(page, "clock"), time.format(new Date()));
}

function writeLive(state, text) {
  page.querySelector("[data-live]").dataset.live = state;
  setText(role(page, "live"), text);
}

/** Say since when nothing has come; what is shown is as old. */
function lost() {
  if (page.querySelector("[data-live]").dataset.live === "lost") return;
  writeLive("lost", t("wall.lost", { time: momentText(Date.now() / 1000) }));
}

tick();
setInterval(tick, 1000);
const notices = followView(STATE_EVENT, STATE_DIFF_EVENT, (state) => showNotices(state.notices));
const socket = follow(pageData.overview, render, notices);
socket.on("connect", () => writeLive("live", t("wall.live")));
socket.on("disconnect", lost);
socket.on("connect_error", lost);
