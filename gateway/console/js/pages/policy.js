// One policy: its next runs, what it keeps and why, and what it would keep of a time to come.

import { ended, get, path, post } from "../api.js";
import { failed, note } from "../announce.js";
import { h } from "../dom.js";
import { date, when } from "../format.js";
import { calendar, legend } from "../parts/calendar.js";
import { field } from "../parts/dialog.js";
import { button, facts, heading, section } from "../parts/section.js";
import { table } from "../parts/table.js";
import { go, link } from "../router.js";
import { may } from "../session.js";
import { count, t } from "../words.js";
import { outcome } from "./policies.js";

const SPANS = [31, 92, 366, 1096];
const SPAN = 366;
/** Simulations are asked for once: they do not change from one look to the next. */
let simulated = { of: null, answer: null };

export const title = ({ policy }) => policy;
export const every = 5_000;

const daysOf = (query) => (SPANS.includes(Number(query.days)) ? Number(query.days) : SPAN);

export async function load({ policy }, query) {
  const where = path("policies", policy);
  const days = daysOf(query);
  const of = `${where}?${days}`;
  if (simulated.of !== of) {
    const answer = await get(`${where}/simulation`, { days }).catch((error) => ({ error }));
    simulated = { of, answer };
  }
  // A policy has sources too, whose files are not looked at here.
  const [details, shares] = await Promise.all([get(where), get("/shares")]);
  return { details, shares: new Set(shares.map((share) => share.name)), simulation: simulated.answer };
}

export function view({ details, shares, simulation }, { query, refresh }) {
  const { status, next_runs, snapshots } = details;
  return [
    heading(status.name, { trail: [[t("policies.title"), link(["policies"])]], actions: [
      may("run") && button(t("policy.run"), () => run(status.name, refresh), { kind: "primary", disabled: status.running })] }),
    facts([
      [t("policy.outcome"), outcome(status)],
      [t("policy.when"), h("code", {}, status.when)],
      [t("policy.of"), status.shares.join(", ")],
      [t("policy.last"), when(status.last_success)],
      [t("policy.nexts"), next_runs.map((time) => h("div", {}, date(time), " ", h("span", { class: "dim" }, when(time))))],
    ]),
    section(t("simulation.title"), { key: "simulation" }, simulationView(simulation, status.name, query)),
    section(t("policy.kept"), { key: "kept" }, keptTable(snapshots, shares)),
  ];
}

function simulationView(simulation, policy, query) {
  const choice = field(t("simulation.span"), { value: String(daysOf(query)), on: { change: (event) =>
    go(["policies", policy], { days: event.target.value }) } }, SPANS.map((days) => [String(days), count("days", days)]));
  if (simulation.error) return [choice, h("p", { class: "reason" }, simulation.error.message)];
  const { runs, most, kept } = simulation;
  return [
    h("p", {}, t("simulation.text", { runs: count("runs", runs), most: count("snapshots", most), kept: count("snapshots", kept.length) })),
    h("div", { class: "toolbar" }, choice, legend(kept)),
    calendar(kept),
  ];
}

function keptTable(snapshots, shares) {
  return table({
    caption: t("policy.kept"), rows: snapshots, key: (one) => `${one.share} ${one.id}`, empty: t("policy.kept.none"),
    columns: [
      { head: t("shares.name"), cell: (one) => (shares.has(one.share)
        ? h("a", { href: link(["shares", one.share, "browse"], { at: `snapshot:${one.id}` }) }, one.share) : one.share) },
      { head: t("snapshots.frozen"), number: true, cell: (one) => date(one.taken) },
      { head: t("snapshots.age"), number: true, cell: (one) => when(one.taken) },
      { head: t("policy.by"), cell: (one) => (one.kept_by.length ? one.kept_by.map((rule) => h("span", { class: "tag" }, t(`rule.${rule}`)))
        : t("policy.goes")) },
    ],
  });
}

async function run(policy, refresh) {
  try {
    const job = await post(`${path("policies", policy)}/run`);
    refresh();
    await ended(job);
    note("good", t("policy.ran", { policy }));
  } catch (error) {
    failed(error);
  }
  refresh();
}
