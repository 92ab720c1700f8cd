// One run of a runbook, step by step, while it goes on and afterwards.

import { get, path } from "../api.js";
import { h, s } from "../dom.js";
import { date, number, span, when } from "../format.js";
import { badge } from "../parts/badge.js";
import { facts, heading, section } from "../parts/section.js";
import { table } from "../parts/table.js";
import { link } from "../router.js";
import { knows, t } from "../words.js";
import { outcomeOf } from "./dr.js";

const STANDINGS = { waiting: "idle", running: "busy", between: "busy", done: "good", skipped: "idle", "passed-over": "warning", failed: "critical" };

export const title = ({ run }) => run;
export const every = 1_500;
export const load = ({ runbook, run }) => get(`${path("runbooks", runbook)}${path("runs", run)}`);

export function view(report, { params: { runbook, run } }) {
  return [
    heading(run, { trail: [[t("dr.title"), link(["dr"])], [runbook, link(["dr"])]], note: report.about }),
    facts([
      [t("run.outcome"), outcomeOf(report)],
      [t("run.mode"), knows(`mode.${report.mode}`) ? t(`mode.${report.mode}`) : report.mode],
      [t("run.began"), [date(report.began), " ", h("span", { class: "dim" }, when(report.began))]],
      report.ended && [t("run.ended"), date(report.ended)],
      [t("run.first"), objective(report.rto_first_byte)],
      [t("run.checked"), objective(report.rto_checked)],
      [t("run.rpo"), objective(report.rpo)],
      report.outcome && report.torn_down != null && [t("run.torn"), badge(report.torn_down ? "good" : "critical", t(report.torn_down ? "run.torn.yes" : "run.torn.no"))],
    ]),
    section(t("run.steps"), { key: "steps" }, steps(report)),
    report.differences?.length > 0 && section(t("run.differences"), { key: "differences" }, h("ul", {}, report.differences.map((text) => h("li", {}, text)))),
    report.events?.length > 0 && section(t("run.events"), { key: "events" },
      h("ul", {}, report.events.map(([time, text]) => h("li", {}, date(time), " ", text)))),
  ];
}

function objective(found) {
  if (!found || found.measured_ms == null) return "–";
  const measured = span(found.measured_ms / 1000);
  if (found.objective_ms == null) return measured;
  const kept = found.measured_ms <= found.objective_ms;
  return badge(kept ? "good" : "critical", t(kept ? "run.kept" : "run.missed", { measured, objective: span(found.objective_ms / 1000) }));
}

function steps(report) {
  const end = Math.max(1, ...report.steps.map((step) => (step.began_ms ?? 0) + (step.took_ms ?? step.expected_ms ?? 0)));
  return table({
    caption: t("run.steps"), rows: report.steps, key: (step) => step.step, empty: t("run.steps.none"),
    columns: [
      { head: t("step.name"), cell: (step) => step.step },
      { head: t("step.standing"), cell: (step) => badge(STANDINGS[step.standing] ?? "idle",
        knows(`standing.${step.standing}`) ? t(`standing.${step.standing}`) : step.standing) },
      { head: t("step.does"), wide: true, cell: (step) => [step.action, step.note && h("div", { class: "reason" }, step.note)] },
      { head: t("step.attempts"), number: true, cell: (step) => number(step.attempts) },
      { head: t("step.took"), number: true, cell: (step) => [span(step.took_ms == null ? null : step.took_ms / 1000),
        step.expected_ms != null && h("div", { class: "dim" }, t("step.expected", { span: span(step.expected_ms / 1000) }))] },
      { head: t("step.bar"), cell: (step) => bar(step, end) },
    ],
  });
}

/** When in the run a step went on. */
function bar(step, end) {
  if (step.began_ms == null) return "";
  const width = Math.max(1.5, (100 * (step.took_ms ?? 0)) / end);
  return s("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: STANDINGS[step.standing] ?? "idle", x: Math.min(98, (100 * step.began_ms) / end), y: 1, width, height: 8, rx: 1 }));
}
