// How full, and how far.

import { h } from "../dom.js";
import { t } from "../words.js";
import { bytes, number } from "../format.js";

/** A part of a whole, in words beside it. `limits` are the parts at which it becomes a warning and critical. */
export function gauge(label, used, whole, text, limits = [0.7, 0.9]) {
  const part = whole > 0 ? used / whole : 0;
  return h("div", { class: "gauge" },
    h("meter", { min: 0, max: 1, value: Math.min(1, part), low: limits[0], high: limits[1], optimum: 0, "aria-label": label }),
    h("span", {}, text));
}

/** How far a job is. */
export function progress(job) {
  const { phase, done, total, unit } = job.progress;
  const show = unit === "bytes" ? bytes : number;
  const text = total ? t("job.of", { done: show(done), total: show(total) }) : done ? show(done) : "";
  return h("div", { class: "gauge" },
    h("progress", { max: total ? total : null, value: total ? done : null, "aria-label": phase || t("job.works") }),
    h("span", {}, [phase, text].filter(Boolean).join(": ")));
}
