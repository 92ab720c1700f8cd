// The stores that the repository is kept on: who leads, how far copies are behind, what moves; and the scrub.

import { ended, get, path, post } from "../api.js";
import { failed, note } from "../announce.js";
import { h } from "../dom.js";
import { bytes, number, rate, span, when } from "../format.js";
import { badge } from "../parts/badge.js";
import { ask, field } from "../parts/dialog.js";
import { gauge, progress } from "../parts/gauge.js";
import { plot } from "../parts/plot.js";
import { button, facts, heading, section } from "../parts/section.js";
import { may } from "../session.js";
import { count, t } from "../words.js";

/** What is remembered of the rates while the page is open: points a target. */
const SEEN_MAX = 300;
const seen = new Map();

export const title = () => t("targets.title");
export const every = 2_000;

export async function load() {
  const [targets, scrub] = await Promise.all([get("/targets"), ifAllowed(get("/scrub"))]);
  for (const { name, link, backlog_bytes } of targets) {
    const points = seen.get(name) ?? [];
    points.push({ at: Date.now(), up: link.up.bytes_per_second, down: link.down.bytes_per_second, backlog_bytes });
    seen.set(name, points.slice(-SEEN_MAX));
  }
  return { targets, scrub };
}

/** What concerns the gateway as a whole is not for a session that is limited to some shares. */
const ifAllowed = (call) => call.catch((error) => {
  if (![403, 404].includes(error.status)) throw error;
  return null;
});

/** The kind of a target's state, and the words for it. */
export function targetState(target) {
  if (!target.reachable) return ["critical", t("target.away")];
  if (target.obstacles?.length || target.lock?.late) return ["warning", t("target.obstructed")];
  if (!target.leads && target.behind_seconds === undefined) return ["idle", t("target.unknown")];
  if (!target.leads && target.behind_seconds > 0) return ["busy", t("target.behind", { span: span(target.behind_seconds) })];
  if (target.backlog_bytes > 0) return ["busy", t("target.sending")];
  return ["good", t("target.whole")];
}

export function view({ targets, scrub }, { refresh }) {
  return [
    heading(title(), { note: t("targets.note") }),
    targets.length === 0 && h("p", { class: "empty" }, t("targets.none")),
    targets.map((target) => one(target, refresh)),
    scrub && section(t("scrub.title"), { key: "scrub", actions: [
      may("run") && button(t("scrub.run"), () => runScrub(refresh))] }, scrubFacts(scrub)),
  ];
}

function one(target, refresh) {
  const { link, name } = target;
  return section(name, { key: name, actions: [
    may("limit") && button(t("limit.verb"), () => limit(target, refresh), { label: t("limit.title", { name }) }),
    may("promote") && !target.leads && button(t("promote.verb"), () => promote(target, refresh), { label: t("promote.title", { name }) }),
  ] },
  facts([
    [t("targets.state"), h("div", {}, badge(...targetState(target)),
      [...(target.obstacles ?? []), ...(target.lock?.late ? [target.lock.late] : [])].map((text) => h("div", { class: "reason" }, text)))],
    [t("targets.role"), t(target.leads ? "targets.leads" : "targets.copy")],
    [t("targets.address"), h("code", {}, target.address)],
    [t("targets.backlog"), t("targets.backlog.of", { bytes: bytes(target.backlog_bytes), packs: count("packs", target.backlog_packs) })],
    [t("targets.ready"), target.backlog_seconds === undefined ? t("targets.ready.unknown") : span(target.backlog_seconds)],
    [t("targets.up"), lane(link.up)],
    [t("targets.down"), lane(link.down)],
    [t("targets.rule"), [link.rule, link.until && [" ", t("targets.until"), " ", when(link.until)]]],
    [t("targets.uploaded"), bytes(target.uploaded_bytes)],
    target.lock && [t("targets.lock"), [t("targets.lock.of", { mode: target.lock.mode, days: count("days", target.lock.days) }),
      target.lock.failure && h("div", { class: "reason" }, target.lock.failure)]],
    target.last_failure && [t("targets.failure"), h("div", { class: "reason" }, when(target.last_failure.at), ": ", target.last_failure.message)],
    Math.abs(target.clock_ahead_ms ?? 0) > 2_000 && [t("targets.clock"), span(Math.abs(target.clock_ahead_ms) / 1000)],
  ]),
  drawn(name));
}

function lane(lane) {
  const limit = lane.limit_bytes_per_second;
  return [rate(lane.bytes_per_second), limit ? [" ", t("targets.limited", { rate: rate(limit) })] : null,
    lane.requests_waiting > 0 && [" ", t("targets.waiting", { n: number(lane.requests_waiting) })]];
}

function drawn(name) {
  const points = seen.get(name) ?? [];
  if (points.length < 3) return null;
  const line = (key) => points.map((point) => ({ x: point.at, y: point[key] }));
  const last = points[points.length - 1];
  return plot({
    label: t("targets.plot", { up: rate(last.up), down: rate(last.down) }), show: rate,
    day: (x) => new Date(x).toLocaleTimeString("sv-SE"),
    series: [{ name: t("targets.up"), kind: "first", points: line("up") }, { name: t("targets.down"), kind: "second", points: line("down") }],
  });
}

function limit({ name, link }, refresh) {
  const now = (lane) => (lane.limit_bytes_per_second ? `${Math.round(lane.limit_bytes_per_second / 1024)}KiB/s` : "");
  ask({
    title: t("limit.title", { name }), verb: t("limit.set"), state: { up: now(link.up), down: now(link.down), hours: "1" },
    body: (state) => [
      h("p", {}, t("limit.text")),
      field(t("targets.up"), { value: state.up, hint: t("limit.hint"), on: { input: (event) => { state.up = event.target.value; } } }),
      field(t("targets.down"), { value: state.down, on: { input: (event) => { state.down = event.target.value; } } }),
      field(t("limit.hours"), { value: state.hours, inputmode: "decimal", on: { input: (event) => { state.hours = event.target.value; } } }),
    ],
    act: async ({ up, down, hours }) => {
      const way = (text) => (text.trim() === "" ? "calendar" : text.trim() === "-" ? "unlimited" : { rate: text.trim() });
      const seconds = Math.round(Number(hours) * 3600);
      await post(`${path("targets", name)}/limit`, { up: way(up), down: way(down), ...(seconds > 0 ? { seconds } : {}) });
      note("good", t("limit.done", { name }));
      refresh();
    },
  });
}

function promote({ name }, refresh) {
  ask({
    title: t("promote.title", { name }), verb: t("promote.verb"), danger: true, type: name, state: { job: null },
    body: (state) => [h("p", {}, t("promote.text")), state.job && progress(state.job)],
    act: async (state, redraw) => {
      await ended(await post(`${path("targets", name)}/promote`, {}), (job) => { state.job = job; redraw(); });
      note("good", t("promote.done", { name }));
      refresh();
    },
  });
}

async function runScrub(refresh) {
  try {
    await post("/scrub/run");
    note("good", t("scrub.started"));
  } catch (error) {
    failed(error);
  }
  refresh();
}

function scrubFacts({ every_seconds, looked, round, last, lost, more_lost }) {
  const lines = lost.map((part) => h("li", {}, part.what, " (", h("code", {}, part.pack.slice(0, 16)), "…) ",
    part.users.map(({ share, moment, path }) => h("div", { class: "reason" }, [share, moment, path].filter(Boolean).join(" ")))));
  return [
    facts([
      [t("scrub.every"), every_seconds ? span(every_seconds) : t("scrub.never")],
      [t("scrub.looked"), when(looked)],
      round && [t("scrub.round"), gauge(t("scrub.round"), round.bytes, round.bytes_total,
        t("here.of", { part: bytes(round.bytes), whole: bytes(round.bytes_total) }), [1, 1])],
      last && [t("scrub.last"), [when(last.ended), ", ", count("packs", last.packs)]],
      last && [t("scrub.healed"), number(last.packs_healed + last.chunks_resealed)],
      [t("scrub.lost"), badge(lost.length ? "critical" : "good", lost.length ? number(lost.length + more_lost) : t("scrub.nothing"))],
    ]),
    lines.length > 0 && h("ul", {}, lines),
  ];
}
