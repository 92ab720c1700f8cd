// Plots as drawings with a text beside them: what they show stands in their name too.

import { h, s } from "../dom.js";

const WIDTH = 640;
const HEIGHT = 180;
const EDGE = { left: 64, right: 12, top: 12, bottom: 26 };

/**
 * Points over time, in one or two lines. `series`: `{ name, kind, points: [{ x, y, title, bad }] }` with `x` in
 * milliseconds; `limit` is a line across: `{ y, name }`. `show(y)` writes a value, `day(x)` a time.
 */
export function plot({ label, series, limit, show, day, dots = false }) {
  const all = series.flatMap((line) => line.points);
  const [first, last] = [Math.min(...all.map((p) => p.x)), Math.max(...all.map((p) => p.x))];
  const most = Math.max(limit?.y ?? 0, ...all.map((p) => p.y), Number.MIN_VALUE) * 1.1;
  const x = (value) => EDGE.left + ((value - first) / (last - first || 1)) * (WIDTH - EDGE.left - EDGE.right);
  const y = (value) => HEIGHT - EDGE.bottom - (value / most) * (HEIGHT - EDGE.top - EDGE.bottom);
  const at = (value, name) => s("text", { x: EDGE.left - 6, y: y(value) + 4, class: "axis", "text-anchor": "end" }, name);
  const across = (value, kind) => s("line", { x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(value), y2: y(value), class: kind });
  const line = ({ kind, points }) => s("polyline",
    { class: `line ${kind}`, points: points.map((p) => `${x(p.x).toFixed(1)},${y(p.y).toFixed(1)}`).join(" ") });
  // What is bad has another shape.
  const dot = (p, kind) => (p.bad
    ? s("path", { class: "dot bad", d: `M${x(p.x) - 4} ${y(p.y) - 4}l8 8m0 -8l-8 8` }, s("title", {}, p.title))
    : s("circle", { class: `dot ${kind}`, cx: x(p.x), cy: y(p.y), r: 3.5 }, s("title", {}, p.title)));
  const top = most / 1.1;
  return h("figure", { class: "plot" },
    s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
      [0, top / 2, top].map((value) => [across(value, "grid"), at(value, show(value))]),
      limit && [across(limit.y, "limit"),
        s("text", { x: WIDTH - EDGE.right, y: y(limit.y) - 4, class: "axis", "text-anchor": "end" }, limit.name)],
      series.map(line),
      dots && series.map(({ kind, points }) => points.map((p) => dot(p, kind))),
      s("text", { x: EDGE.left, y: HEIGHT - 8, class: "axis" }, day(first)),
      s("text", { x: WIDTH - EDGE.right, y: HEIGHT - 8, class: "axis", "text-anchor": "end" }, day(last))),
    h("figcaption", {}, series.map(({ name, kind }) => h("span", { class: `legend ${kind}` }, name))));
}
