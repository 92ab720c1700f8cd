// A state as a shape, a word and a colour: never by colour alone.

import { h, s } from "../dom.js";

const SHAPES = {
  good: "M3 8.5l3.2 3.2L13 5",
  warning: "M8 2.5l6 11H2zM8 7v3M8 11.6v.2",
  critical: "M4 4l8 8M12 4l-8 8",
  idle: "M3.5 8h9",
  busy: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 1 0 0-11M8 5.5V8l1.8 1.2",
};

/** The shape of a kind: good, warning, critical, idle, busy. */
export function shape(kind) {
  return s("svg", { class: `shape ${kind}`, viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
    s("path", { d: SHAPES[kind] ?? SHAPES.idle, fill: "none", "stroke-width": 2, "stroke-linecap": "round",
      "stroke-linejoin": "round" }));
}

/** A state in words. */
export const badge = (kind, text) => h("span", { class: `badge ${kind}` }, shape(kind), h("span", {}, text));
