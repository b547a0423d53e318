// Draws the page's four charts from its own data, each with the same numbers as a table.

import { closeMenus, momentText, role, setText, show } from "../lib/dom.js";
import { language, pageData, t } from "../lib/i18n.js";
import { axes, colour, onRedraw, uPlot } from "../lib/plots.js";
import { duration } from "../lib/usage.js";
import "./notices.js";

const HEIGHT = 240;
const REST = "rest";
const { charts } = pageData;

const hours = (seconds) => Math.round(seconds / 360) / 10;
const hoursText = (seconds) => t("common.hours", { count: hours(seconds) });
const percentText = (value) => (value === null ? "–" : t("charts.percent", { percent: value }));
/** A day of the server as a moment at which it is that day nearly everywhere. */
const noon = (day) => new Date(`${day}T12:00:00`).getTime() / 1000;
const dayText = (day) => new Intl.DateTimeFormat(language, { year: "numeric", month: "short", day: "numeric" }).format(new Date(`${day}T12:00:00`));
const sum = (values) => values.reduce((all, one) => all + one, 0);
const known = (values) => values.filter((value) => value !== null);

/** Lists as they stand on each other, the lowest first. */
function stacked(lists) {
  const sums = [];
  for (const list of lists) sums.push(list.map((value, index) => value + (sums.at(-1)?.[index] ?? 0)));
  return sums;
}

/** Bars for each day; the highest sums are drawn first, so that those below stay visible. */
function bars(days, lists, colours) {
  const paths = uPlot.paths.bars({ size: [0.8, 40], align: 0 });
  const series = colours.map((name) => ({ fill: colour(name), stroke: colour(name), width: 0, paths, points: { show: false } }));
  const data = stacked(lists.map((list) => list.map(hours)));
  return {
    series: series.reverse(),
    data: [days.map(noon), ...data.reverse()],
    axis: (value) => t("common.hours", { count: value }),
    // Half a day at either side, or the outer bars would be cut.
    x: [noon(days[0]) - 43_200, noon(days.at(-1)) + 43_200],
    high: Math.max(...data[0]),
  };
}

const held = {
  empty: ({ names }) => names.length === 0,
  name: (name) => name ?? t("charts.held.rest"),
  tone: (name, index) => (name === null ? `series-${REST}` : `series-${index}`),
  key: ({ names }) => names.map((name, index) => [name === null ? REST : index, held.name(name)]),
  draw: ({ days, names, seconds }) => bars(days, seconds, names.map(held.tone)),
  at({ days, names, seconds }, index) {
    const parts = names.map((name, which) => [held.name(name), seconds[which][index]]).filter(([, value]) => value);
    return [dayText(days[index]), ...parts.map(([name, value]) => `${name} ${duration(value)}`)].join(" · ");
  },
  total: ({ seconds }) => t("charts.held.total", { time: hoursText(sum(seconds.flat())) }),
  head: ({ names }) => [t("charts.day"), ...names.map(held.name), t("charts.held.all")],
  rows: ({ days, seconds }) => days.map((day, index) => {
    const cells = seconds.map((list) => list[index]);
    return [dayText(day), ...[...cells, sum(cells)].map((value) => ({ text: value ? hoursText(value) : "–" }))];
  }).reverse(),
};

const WORKED = ["worked_seconds", "idle_seconds", "rest_seconds"];
const WORKED_TONES = ["series-2", "series-1", `series-${REST}`];

const worked = {
  empty: (view) => WORKED.every((name) => !sum(view[name])),
  key: () => WORKED.map((name, index) => [WORKED_TONES[index].replace("series-", ""), t(`charts.worked.${name}`)]),
  draw: (view) => bars(view.days, WORKED.map((name) => view[name]), WORKED_TONES),
  at(view, index) {
    const parts = WORKED.map((name) => `${t(`charts.worked.${name}`)} ${duration(view[name][index])}`);
    return [dayText(view.days[index]), ...parts, t("charts.worked.share", { share: percentText(view.idle_share[index]) })].join(" · ");
  },
  total(view) {
    const [work, idle] = WORKED.map((name) => sum(view[name]));
    const share = work + idle ? Math.round((100 * idle) / (work + idle)) : null;
    return t("charts.worked.total", { share: percentText(share) });
  },
  head: () => [t("charts.day"), ...WORKED.map((name) => t(`charts.worked.${name}`)), t("charts.worked.idle_share")],
  rows: (view) => view.days.map((day, index) => [
    dayText(day),
    ...WORKED.map((name) => ({ text: view[name][index] ? hoursText(view[name][index]) : "–" })),
    { text: percentText(view.idle_share[index]) },
  ]).reverse(),
};

const lines = (lists) => lists.map(([values, name, width = 2]) => ({ values, line: { stroke: colour(name), width, points: { show: false }, spanGaps: false } }));

const SPAN_TEXT = { year: "numeric", month: "short", day: "numeric" };
/** When a span was: its day where it is one, else when it began. */
function spanText(at, seconds) {
  if (seconds < 86_400) return momentText(at);
  return new Intl.DateTimeFormat(language, SPAN_TEXT).format(new Date((at + seconds / 2) * 1000));
}

/** Of each span the mean of all cards that are known, and the least and the most busy one. */
function extents({ at, use }) {
  return at.map((_, index) => {
    const found = known(use.map((list) => list[index]));
    if (!found.length) return { low: null, mean: null, high: null };
    return { low: Math.min(...found), mean: Math.round(sum(found) / found.length), high: Math.max(...found) };
  });
}

const cards = {
  empty: ({ cards: all }) => all.length === 0,
  key: () => [[0, t("charts.cards.mean")]],
  draw(view) {
    const found = extents(view);
    const drawn = lines(["low", "mean", "high"].map((part) => [found.map((one) => one[part]), "series-0", part === "mean" ? 2 : 0]));
    return {
      series: drawn.map(({ line }) => line),
      data: [view.at.map((at) => at + view.span_seconds / 2), ...drawn.map(({ values }) => values)],
      bands: [{ series: [3, 1], fill: `${colour("series-0")}38` }],
      axis: percentText,
      high: 100,
    };
  },
  at(view, index) {
    const { low, mean, high } = extents(view)[index];
    const said = mean === null ? t("charts.unknown") : t("charts.cards.at", { mean, low, high });
    return `${spanText(view.at[index], view.span_seconds)} · ${said}`;
  },
  total(view) {
    const means = known(extents(view).map((one) => one.mean));
    return t("charts.cards.total", { mean: Math.round(sum(means) / means.length) });
  },
  head: ({ cards: all }) => [t("charts.time"), ...all.map((card) => t("card.label", { card }))],
  rows: ({ at, use, span_seconds: span }) => at.map((time, index) => [
    spanText(time, span),
    ...use.map((list) => ({ text: percentText(list[index]), heat: list[index] === null ? 0 : Math.ceil(list[index] / 25) })),
  ]).reverse(),
};

const line = {
  empty: ({ length_high: high }) => known(high).length === 0,
  key: () => [[0, t("charts.line.length_mean")], [1, t("charts.line.length_high")]],
  draw(view) {
    const drawn = lines([[view.length_mean, "series-0"], [view.length_high, "series-1", 1]]);
    return {
      series: drawn.map((one) => one.line),
      data: [view.at, ...drawn.map(({ values }) => values)],
      axis: (value) => (Number.isInteger(value) ? `${value}` : ""),
      high: Math.max(2, ...known(view.length_high)),
    };
  },
  at(view, index) {
    const [mean, most, wait] = [view.length_mean, view.length_high, view.wait_high].map((list) => list[index]);
    const said = mean === null ? t("charts.unknown") : t("charts.line.at", { mean, most, wait: duration(wait) });
    return `${momentText(view.at[index])} · ${said}`;
  },
  total: (view) => t("charts.line.total", { most: Math.max(...known(view.length_high)), wait: duration(Math.max(...known(view.wait_high))) }),
  head: () => ["time", "line.length_mean", "line.length_high", "line.wait_high"].map((name) => t(`charts.${name}`)),
  rows: (view) => view.at.map((time, index) => [
    momentText(time),
    { text: view.length_mean[index] ?? "–" },
    { text: view.length_high[index] ?? "–" },
    { text: view.wait_high[index] ? duration(view.wait_high[index]) : "–" },
  ]).filter((cells) => cells[1].text !== "–").reverse(),
};

const KINDS = { held, worked, cards, line };
const plots = new Map();

function cell(kind, content) {
  const made = document.createElement(kind);
  setText(made, content.text ?? content);
  if (content.heat) made.dataset.heat = content.heat;
  return made;
}

function writeTable(panel, kind, view) {
  const head = document.createElement("tr");
  for (const name of kind.head(view)) {
    const made = cell("th", name);
    made.scope = "col";
    head.append(made);
  }
  role(panel, "head").replaceChildren(head);
  role(panel, "rows").replaceChildren(...kind.rows(view).map(([first, ...rest]) => {
    const row = document.createElement("tr");
    const name = cell("th", first);
    name.scope = "row";
    row.append(name, ...rest.map((one) => cell("td", one)));
    return row;
  }));
}

function writeKey(panel, kind, view) {
  role(panel, "key").replaceChildren(...kind.key(view).map(([series, name]) => {
    const made = cell("li", name);
    made.dataset.series = series;
    return made;
  }));
}

function draw(panel) {
  const name = panel.dataset.chart;
  const [kind, view] = [KINDS[name], charts[name]];
  const place = role(panel, "plot");
  const now = role(panel, "now");
  const drawn = kind.draw(view);
  const say = (index) => setText(now, index === null || index === undefined ? kind.total(view) : kind.at(view, index));
  plots.get(name)?.destroy();
  say(null);
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: {
      x: { time: true, ...(drawn.x ? { range: () => drawn.x } : {}) },
      y: { range: () => [0, drawn.high ? drawn.high * 1.05 : 1] },
    },
    axes: axes(drawn.axis),
    series: [{}, ...drawn.series],
    bands: drawn.bands ?? [],
    hooks: { setCursor: [(plot) => say(plot.cursor.idx)] },
  };
  plots.set(name, new uPlot(options, drawn.data, place));
}

function begin(panel) {
  const [kind, view] = [KINDS[panel.dataset.chart], charts[panel.dataset.chart]];
  const empty = kind.empty(view);
  show(role(panel, "empty"), empty);
  show(role(panel, "drawn"), !empty);
  if (empty) return;
  writeKey(panel, kind, view);
  draw(panel);
  const table = panel.querySelector("details");
  table.addEventListener("toggle", () => table.open && writeTable(panel, kind, view), { once: true });
  onRedraw(role(panel, "plot"), () => draw(panel));
}

closeMenus();
document.querySelectorAll("[data-chart]").forEach(begin);
const period = document.querySelector('[data-role="period"]');
show(period.querySelector("button"), false);
period.addEventListener("change", () => period.submit());
