// A growing text of which only the end is kept, and what is found in it. Pure.

const PROBE = 200;

/** What was printed between two looks at the end of a log; null where it is another log. */
export function grown(before, next) {
  if (next.startsWith(before)) return next.slice(before.length);
  const probe = next.slice(0, PROBE);
  for (let at = before.indexOf(probe, 1); probe && at > 0; at = before.indexOf(probe, at + 1)) {
    const kept = before.slice(at);
    if (next.startsWith(kept)) return next.slice(kept.length);
  }
  return null;
}

/** A pattern for a text as it stands, in capitals or not; null for nothing to look for. */
export function patternOf(wanted) {
  return wanted ? new RegExp(wanted.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "giu") : null;
}

/** Cut a line into pieces, in turn outside and inside of what was looked for. */
export function pieces(line, pattern) {
  const found = [];
  let end = 0;
  for (const one of line.matchAll(pattern)) {
    found.push(line.slice(end, one.index), one[0]);
    end = one.index + one[0].length;
  }
  return [...found, line.slice(end)];
}
