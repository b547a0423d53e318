// What all charts share: colours of the page, axes, and drawing again when these or the width change.

import uPlot from "../../vendor/uplot-1.6.32.esm.js";
import { language } from "./i18n.js";

const dark = matchMedia("(prefers-color-scheme: dark)");

export { uPlot };

/** A colour of the page by its token's name. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const BESIDE_LABELS_PX = 18;

/** Room for the longest label of an axis, in whatever language it is written. */
function widthOf(plot, labels, axis) {
  const { ctx } = plot;
  [ctx.font] = plot.axes[axis].font;
  const widths = (labels ?? []).map((label) => ctx.measureText(label).width / devicePixelRatio);
  return Math.ceil(Math.max(0, ...widths)) + BESIDE_LABELS_PX;
}

/** Both axes, of time and of values; `write` says a value's number. */
export function axes(write) {
  const plain = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
  const time = (_plot, marks, _axis, _space, gap) => {
    const style = gap >= 86_400 ? { month: "numeric", day: "numeric" } : { hour: "2-digit", minute: "2-digit" };
    const text = new Intl.DateTimeFormat(language, style);
    return marks.map((mark) => text.format(new Date(mark * 1000)));
  };
  return [
    { ...plain, values: time, space: 64, size: 30 },
    { ...plain, size: widthOf, values: (_plot, marks) => marks.map(write) },
  ];
}

/** Call `draw` again when the colours have changed, or the width of `place`. */
export function onRedraw(place, draw) {
  dark.addEventListener("change", draw);
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    // Only its width matters; drawing changes its height.
    if (now && now !== width && width) requestAnimationFrame(draw);
    width = now;
  }).observe(place);
}
