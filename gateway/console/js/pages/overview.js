// The first page: is everything protected, what is behind, what would a disaster cost right now.

import { get } from "../api.js";
import { h } from "../dom.js";
import { bytes, span, when } from "../format.js";
import { badge, shape } from "../parts/badge.js";
import { gauge, progress } from "../parts/gauge.js";
import { facts, figure, heading, section } from "../parts/section.js";
import { isBucket, protection, protectionBadge } from "../parts/shares.js";
import { table } from "../parts/table.js";
import { link } from "../router.js";
import { count, t } from "../words.js";
import { alarmList } from "./alarms.js";
import { kindOf } from "./jobs.js";
import { targetState } from "./targets.js";

export const title = () => t("overview.title");
export const every = 2_000;

export async function load() {
  const [status, jobs] = await Promise.all([get("/status"), get("/jobs")]);
  return { status, running: jobs.filter((job) => !job.ended) };
}

export function view({ status, running }) {
  return [
    heading(title(), { note: t("overview.note", { version: status.version, span: span(status.uptime_seconds) }) }),
    verdict(status),
    status.alarms.length > 0 && section(t("overview.wrong"), { key: "wrong" }, alarmList(status.alarms)),
    section(t("overview.cost"), { key: "cost" }, cost(status)),
    section(t("shares.title"), { key: "shares" }, shareTable(status.shares)),
    section(t("targets.title"), { key: "targets" }, targetTable(status.targets)),
    running.length > 0 && section(t("overview.running"), { key: "running" }, running.map((job) =>
      h("p", { key: job.id }, h("a", { href: link(["jobs"]) }, kindOf(job)), " ", job.share, progress(job)))),
    section(t("overview.here"), { key: "here" }, machine(status)),
  ];
}

/** One sentence that a glance suffices for. */
function verdict({ shares, alarms, targets }) {
  const exposed = shares.filter((share) => protection(share).kind === "critical");
  const critical = alarms.filter((alarm) => alarm.severity === "critical");
  const kind = exposed.length || critical.length ? "critical" : alarms.length ? "warning" : "good";
  const behind = Math.max(0, ...shares.map((share) => share.rpo_now_seconds));
  const copies = targets.filter((target) => !target.leads).length;
  const text = shares.length === 0 ? t("verdict.empty") : exposed.length > 0
    ? t("verdict.exposed", { names: exposed.map((share) => share.name).join(", ") }) : t(`verdict.${kind}`);
  const more = behind > 0 ? t("verdict.behind", { span: span(behind) }) : t("verdict.nothing");
  return h("div", { class: `verdict ${kind}` }, shape(kind),
    h("div", {}, h("strong", {}, text), h("p", {}, more, " ",
      copies > 0 ? t("verdict.copies", { n: copies }) : t("verdict.one"))));
}

function cost({ shares, cache }) {
  const worst = shares.reduce((a, b) => (b.rpo_now_seconds > (a?.rpo_now_seconds ?? 0) ? b : a), null);
  const lost = worst?.rpo_now_seconds ?? 0;
  const late = worst && lost > worst.rpo_seconds;
  const plans = shares.map((share) => share.recovery).filter(Boolean);
  const slowest = (stage) => Math.max(...plans.map((plan) => plan[stage].seconds ?? NaN));
  const known = plans.length > 0 && Number.isFinite(slowest("first"));
  return h("div", { class: "figures" },
    figure({ label: t("cost.lost"), value: span(lost), kind: late ? "critical" : lost ? "" : "good",
      note: worst ? t("cost.lost.of", { share: worst.name, objective: span(worst.rpo_seconds) }) : t("cost.lost.none") }),
    figure({ label: t("cost.bytes"), value: bytes(cache.dirty_bytes), note: t("cost.bytes.of", { percent: cache.dirty_percent }) }),
    figure({ label: t("cost.time"), value: known ? span(slowest("first")) : "–",
      note: known ? t("cost.time.whole", { span: span(slowest("whole")) }) : t("cost.time.none") }));
}

function shareTable(shares) {
  return table({
    caption: t("shares.title"), rows: shares, key: (share) => share.name, empty: t("shares.none"),
    columns: [
      { head: t("shares.name"), cell: (share) => h("a", { href: link(["shares", share.name]) }, share.name) },
      { head: t("shares.protection"), cell: protectionBadge },
      { head: t("shares.objective"), number: true, cell: (share) => span(share.rpo_seconds) },
      { head: t("shares.published"), number: true, cell: (share) => (share.head ? when(share.head.frozen) : "–") },
      { head: t("shares.size"), number: true, cell: (share) => bytes(share.bytes) },
      { head: t("shares.files"), number: true, cell: (share) => count(isBucket(share) ? "objects" : "files", share.files) },
    ],
  });
}

function targetTable(targets) {
  return table({
    caption: t("targets.title"), rows: targets, key: (target) => target.name, empty: t("targets.none"),
    columns: [
      { head: t("targets.name"), cell: (target) => h("a", { href: link(["targets"]) }, target.name) },
      { head: t("targets.state"), cell: (target) => badge(...targetState(target)) },
      { head: t("targets.role"), cell: (target) => t(target.leads ? "targets.leads" : "targets.copy") },
      { head: t("targets.backlog"), number: true, cell: (target) => bytes(target.backlog_bytes) },
      { head: t("targets.ready"), number: true, cell: (target) => span(target.backlog_seconds) },
    ],
  });
}

function machine({ cache, journal, memory }) {
  const room = journal.free_bytes + journal.bytes + cache.disk_bytes;
  return facts([
    [t("here.dirty"), gauge(t("here.dirty"), cache.dirty_percent, 100,
      t("here.of", { part: bytes(cache.dirty_bytes), whole: bytes(cache.dirty_bytes_max) }))],
    [t("here.cache"), gauge(t("here.cache"), cache.disk_bytes, cache.disk_bytes_max,
      t("here.of", { part: bytes(cache.disk_bytes), whole: bytes(cache.disk_bytes_max) }), [1, 1])],
    [t("here.memory"), gauge(t("here.memory"), memory.resident_bytes, memory.budget_bytes,
      t("here.of", { part: bytes(memory.resident_bytes), whole: bytes(memory.budget_bytes) }), [0.95, 1])],
    [t("here.disk"), gauge(t("here.disk"), room - journal.free_bytes, room, t("here.free", { bytes: bytes(journal.free_bytes) }))],
    [t("here.hits"), hits(cache)],
  ]);
}

function hits({ hits, misses }) {
  const all = hits + misses;
  return all === 0 ? "–" : t("here.percent", { percent: Math.floor((100 * hits) / all) });
}
