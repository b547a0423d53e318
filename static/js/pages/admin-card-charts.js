// Draws the cards' history: for each value its mean as a line in the band from lowest to highest,
// with gaps where nothing was known; and the same numbers as a table.

import { field, momentText, role, setMoment, setText, show } from "../lib/dom.js";
import { bytes } from "../lib/format.js";
import { has, t } from "../lib/i18n.js";
import { axes, colour, onRedraw, uPlot } from "../lib/plots.js";
import { fillRows } from "../lib/usage.js";

const HEIGHT = 150;
const GIB = 2 ** 30;

const whole = (value) => String(Math.round(value));
const METRICS = {
  memory_used: { scale: GIB, write: bytes, axis: (value) => `${Math.round(value * 10) / 10}`, unit: "GiB" },
  utilisation: { scale: 1, write: (value) => `${whole(value)} %`, axis: whole, unit: "%", most: 100 },
  temperature: { scale: 1, write: (value) => `${whole(value)} °C`, axis: whole, unit: "°C" },
  power: { scale: 1, write: (value) => `${whole(value)} W`, axis: whole, unit: "W" },
};

const plots = new Map();
let last = null;

const numbers = (values) => values.filter((value) => value !== null);

/** A value's lowest, mean and highest in one text; one number where they look the same. */
function extentText({ write }, low, mean, high) {
  const [a, b, c] = [low, mean, high].map(write);
  return a === c ? b : t("admin.history.extent", { low: a, mean: b, high: c });
}

function summary(metric, series) {
  const means = numbers(series.mean);
  const sum = means.reduce((all, one) => all + one, 0);
  return {
    low: metric.write(Math.min(...numbers(series.low))),
    mean: metric.write(sum / means.length),
    high: metric.write(Math.max(...numbers(series.high))),
  };
}

function range(metric, found, series) {
  if (metric === METRICS.memory_used && found.memory_total) return [0, found.memory_total / GIB];
  const high = Math.max(...numbers(series.high)) / metric.scale;
  return [0, metric.most ?? Math.max(10, high * 1.1)];
}

function options(metric, found, series, width, now) {
  const line = { stroke: colour("accent"), width: 2, points: { show: false }, spanGaps: false };
  const edge = { ...line, width: 0 };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: "cards" } },
    scales: { x: { time: true }, y: { range: () => range(metric, found, series) } },
    axes: axes(metric.axis),
    series: [{}, edge, line, edge],
    bands: [{ series: [3, 1], fill: `${colour("accent")}38` }],
    hooks: { setCursor: [(plot) => setText(now, atText(metric, found, series, plot.cursor.idx))] },
  };
}

/** What stood at the place under the pointer, or over all of the time when there is none. */
function atText(metric, found, series, index) {
  if (index === null || index === undefined) return t("admin.history.summary", summary(metric, series));
  const time = momentText(found.at[index]);
  const mean = series.mean[index];
  const value = mean === null ? t("admin.history.unknown") : extentText(metric, series.low[index], mean, series.high[index]);
  return `${time} · ${value}`;
}

function drawOne(figure, found) {
  const name = figure.dataset.chart;
  const [metric, series] = [METRICS[name], found[name]];
  plots.get(name)?.destroy();
  plots.delete(name);
  if (figure.hidden) return;
  const place = role(figure, "plot");
  const now = role(figure, "now");
  setText(now, atText(metric, found, series, null));
  place.setAttribute("aria-label", `${t(`admin.history.${name}`)}: ${now.textContent}`);
  const scaled = ["low", "mean", "high"].map((part) => series[part].map((value) => (value === null ? null : value / metric.scale)));
  plots.set(name, new uPlot(options(metric, found, series, place.clientWidth, now), [found.at, ...scaled], place));
}

function writeRow(row, { found, index, until }) {
  // A time of which nothing is known is one row, however long.
  const gap = until !== undefined;
  if (gap) setText(field(row, "at"), `${momentText(found.at[index])} – ${momentText(found.at[until])}`);
  else setMoment(field(row, "at"), found.at[index]);
  for (const [name, metric] of Object.entries(METRICS)) {
    const { low, mean, high } = found[name];
    const known = mean[index] !== null;
    setText(field(row, name), known ? extentText(metric, low[index], mean[index], high[index]) : "–");
  }
  const health = found.health[index];
  const key = `admin.history.health.${health}`;
  setText(field(row, "health"), gap ? t("admin.history.unknown") : has(key) ? t(key) : health || "–");
}

function rows(found) {
  const all = [];
  for (let index = 0; index < found.at.length; index += 1) {
    const before = all.at(-1);
    if (found.health[index] !== null) all.push({ found, index });
    else if (before?.until === index - 1) before.until = index;
    else all.push({ found, index, until: index });
  }
  return all.reverse();
}

function writeTable(panel, found) {
  const template = document.querySelector('[data-template="history-row"]');
  if (role(panel, "history-values").open) fillRows(role(panel, "history-rows"), template, rows(found), writeRow);
}

/** Draw what was found; tell whether anything of it is known. */
export function draw(panel, found) {
  last = { panel, found };
  const figures = [...panel.querySelectorAll("[data-chart]")];
  // All places first: how wide each is depends on how many there are.
  for (const figure of figures) show(figure, numbers(found[figure.dataset.chart].mean).length > 0);
  for (const figure of figures) drawOne(figure, found);
  const known = figures.some((figure) => !figure.hidden);
  show(role(panel, "history-values"), known);
  writeTable(panel, found);
  return known;
}

onRedraw(document.querySelector('[data-role="charts"]'), () => last && draw(last.panel, last.found));
document.querySelector('[data-role="history-values"]').addEventListener("toggle", () => last && writeTable(last.panel, last.found));
