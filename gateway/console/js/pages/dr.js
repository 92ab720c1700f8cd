// Disaster recovery: what is promised, what it would take by measurement, and what drills have shown.

import { ApiError, ended, get, path, post } from "../api.js";
import { note } from "../announce.js";
import { h } from "../dom.js";
import { bytes, number, rate, short, span, when } from "../format.js";
import { badge } from "../parts/badge.js";
import { ask } from "../parts/dialog.js";
import { progress } from "../parts/gauge.js";
import { plot } from "../parts/plot.js";
import { button, heading, section } from "../parts/section.js";
import { table } from "../parts/table.js";
import { go, link } from "../router.js";
import { may } from "../session.js";
import { knows, t } from "../words.js";

const STAGES = ["first", "hot", "whole"];
/** The calls of the plan; a gateway has one of them, or none. */
const PLANS = ["/recovery", "/dr/plan"];

export const title = () => t("dr.title");
export const every = 10_000;

/** What a call answers; null if this gateway does not have it. */
async function ifThere(call) {
  try {
    return await call;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

/** The plan of recovery; null if this gateway makes none. */
export async function planOf() {
  for (const where of PLANS) {
    const plan = await ifThere(get(where));
    if (plan) return plan;
  }
  return null;
}

/** The runbooks; null if this gateway has no such thing. */
export const runbooksOf = () => ifThere(get("/runbooks"));

export async function load() {
  const [plan, runbooks] = await Promise.all([planOf(), runbooksOf()]);
  const books = (runbooks ?? []).map((book) => (typeof book === "string" ? { name: book } : book));
  const runs = await Promise.all(books.map((book) => ifThere(get(`${path("runbooks", book.name)}/runs`))));
  return { plan, books: books.map((book, at) => ({ ...book, runs: runs[at] ?? [] })) };
}

export function view({ plan, books }, { refresh }) {
  return [
    heading(title(), { note: t("dr.note") }),
    plan && section(t("dr.prediction"), { key: "plan" }, measured(plan.link), planTable(plan.shares)),
    books.map((book) => section(t("dr.runbook", { name: book.name }), { key: book.name, actions: [
      may("drill") && button(t("drill.start"), () => startDrill(book, refresh), { kind: "primary", label: t("drill.title", { name: book.name }) })] },
    book.about && h("p", {}, book.about), history(book), runTable(book))),
    !plan && books.length === 0 && h("p", { class: "empty" }, t("dr.none")),
  ];
}

function measured(link) {
  if (!link) return h("p", { class: "note-line" }, t("dr.unmeasured"));
  return h("p", { class: "note-line" }, t("dr.measured", { target: link.target, rate: rate(link.bytes_per_second),
    latency: span(link.latency_ms / 1000) }), link.measured && [" (", when(link.measured), ")"]);
}

function planTable(shares) {
  return table({
    caption: t("dr.prediction"), rows: shares, key: (share) => share.share, empty: t("shares.none"),
    columns: [
      { head: t("shares.name"), cell: ({ share }) => h("a", { href: link(["shares", share]) }, share) },
      { head: t("dr.kept"), cell: kept },
      { head: t("dr.age"), number: true, cell: (share) => [span(share.age_seconds),
        share.rpo_seconds !== undefined && h("div", { class: "dim" }, t("dr.objective", { span: span(share.rpo_seconds) }))] },
      ...STAGES.map((stage) => ({ head: t(`stage.${stage}`), number: true, cell: (share) => stageCell(share[stage]) })),
    ],
  });
}

function kept(share) {
  const stages = STAGES.map((stage) => share[stage]);
  const missed = share.missed || stages.some((stage) => stage.is_kept === false);
  const kind = missed ? (share.accept_risk ? "warning" : "critical") : stages.some((stage) => stage.is_kept) ? "good" : "idle";
  const text = missed ? t(share.accept_risk ? "dr.accepted" : "dr.missed") : t(kind === "good" ? "dr.within" : "dr.no.objective");
  return h("div", {}, badge(kind, text), share.missed && h("div", { class: "reason" }, share.missed));
}

function stageCell(stage) {
  const bound = stage.bound && (knows(`bound.${stage.bound}`) ? t(`bound.${stage.bound}`) : stage.bound);
  return [stage.seconds === undefined ? "–" : span(stage.seconds),
    stage.objective_seconds !== undefined && h("div", { class: "dim" }, t("dr.objective", { span: span(stage.objective_seconds) })),
    h("div", { class: "dim" }, [bytes(stage.bytes), bound, stage.price].filter(Boolean).join(", "))];
}

const outcomes = { done: "good", failed: "critical", left: "critical", "rolled-back": "warning", interrupted: "warning" };

/** How a run ended, or that it goes on. */
export function outcomeOf(run) {
  if (!run.outcome) return badge("busy", t("run.goes"));
  return badge(outcomes[run.outcome] ?? "idle", knows(`run.${run.outcome}`) ? t(`run.${run.outcome}`) : run.outcome);
}

export const nameOf = (run) => run.run ?? run.name ?? run.id;

/** The times of past runs beside the objective. */
function history(book) {
  const runs = book.runs.filter((run) => run.rto_first_byte?.measured_ms != null)
    .sort((a, b) => Date.parse(a.began) - Date.parse(b.began));
  if (runs.length < 2) return null;
  const objective = runs.at(-1).rto_first_byte.objective_ms;
  const points = (field) => runs.filter((run) => run[field]?.measured_ms != null).map((run) => ({
    x: Date.parse(run.began), y: run[field].measured_ms / 1000, bad: objective != null && run[field].measured_ms > objective,
    title: `${nameOf(run)}: ${span(run[field].measured_ms / 1000)}`,
  }));
  return plot({
    label: t("dr.plot", { n: number(runs.length), span: span(runs.at(-1).rto_first_byte.measured_ms / 1000) }),
    show: span, day: (x) => short(x).slice(0, 10), dots: true,
    limit: objective != null ? { y: objective / 1000, name: t("dr.objective", { span: span(objective / 1000) }) } : null,
    series: [{ name: t("run.first"), kind: "first", points: points("rto_first_byte") },
      { name: t("run.checked"), kind: "second", points: points("rto_checked") }],
  });
}

function runTable(book) {
  const rows = [...book.runs].sort((a, b) => Date.parse(b.began) - Date.parse(a.began));
  const measured = (objective) => span(objective?.measured_ms == null ? null : objective.measured_ms / 1000);
  return table({
    caption: t("run.history", { name: book.name }), rows, key: nameOf, empty: t("run.none"),
    columns: [
      { head: t("run.name"), cell: (run) => h("a", { href: link(["dr", book.name, nameOf(run)]) }, nameOf(run)) },
      { head: t("run.mode"), cell: (run) => (knows(`mode.${run.mode}`) ? t(`mode.${run.mode}`) : run.mode) },
      { head: t("run.outcome"), cell: outcomeOf },
      { head: t("run.began"), number: true, cell: (run) => when(run.began) },
      { head: t("run.first"), number: true, cell: (run) => measured(run.rto_first_byte) },
      { head: t("run.checked"), number: true, cell: (run) => measured(run.rto_checked) },
      { head: t("run.rpo"), number: true, cell: (run) => measured(run.rpo) },
    ],
  });
}

function startDrill(book, refresh) {
  ask({
    title: t("drill.title", { name: book.name }), verb: t("drill.start"), state: { job: null },
    body: (state) => [h("p", {}, t("drill.text")), state.job && progress(state.job)],
    act: async (state, redraw) => {
      const where = `${path("runbooks", book.name)}/runs`;
      const before = new Set((await get(where)).map(nameOf));
      let job = await post(where, { mode: "drill" });
      note("good", t("drill.started", { name: book.name }));
      // The run has a page that shows it step by step, once it has a name; what keeps it from beginning is said here.
      for (;;) {
        state.job = job;
        redraw();
        const begun = (await get(where)).find((run) => !before.has(nameOf(run)));
        if (begun) return go(["dr", book.name, nameOf(begun)]);
        if (job.state !== "running" && job.state !== "cancelling") break;
        job = await get(path("jobs", job.id), { wait_seconds: 1 });
      }
      await ended(job);
      refresh();
    },
  });
}

