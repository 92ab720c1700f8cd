// One share: how it is, its snapshots and its newest published states, and what can be done with them.

import { get, path } from "../api.js";
import { h } from "../dom.js";
import { bytes, date, number, span, when } from "../format.js";
import { gauge } from "../parts/gauge.js";
import { button, facts, heading, section } from "../parts/section.js";
import { isBucket, protectionBadge } from "../parts/shares.js";
import { table } from "../parts/table.js";
import { go, link } from "../router.js";
import { may } from "../session.js";
import { count, t } from "../words.js";
import { bringBack, commit, endInBin, forget, rollBack, takeSnapshot } from "./share_changes.js";

const HEADS = 12;
/** How old what is shown of the bin may be, in milliseconds. */
const BIN_AGE = 60_000;
let known = null;

export const title = ({ share }) => share;
export const every = 4_000;

export async function load({ share }) {
  const where = path("shares", share);
  const [status, snapshots, heads] = await Promise.all([
    get(where), get(`${where}/snapshots`), get(`${where}/heads`, { limit: HEADS })]);
  return { status, snapshots, bin: await binOf(share, where, snapshots), heads };
}

/** The bin is asked for when snapshots have come or gone, and now and then: each answer reads all of them. */
async function binOf(share, where, snapshots) {
  const key = [share, ...snapshots.map((snapshot) => snapshot.id)].join();
  if (known?.key !== key || Date.now() - known.at > BIN_AGE) {
    known = { key, at: Date.now(), entries: await get(`${where}/bin`) };
  }
  return known.entries;
}

export function view({ status, snapshots, bin, heads }, { refresh }) {
  const share = status.name;
  return [
    heading(share, { trail: [[t("shares.title"), link(["shares"])]], actions: [
      may("snapshot", share) && button(t("snapshot.take"), () => takeSnapshot(share, refresh), { kind: "primary" }),
      may("commit", share) && button(t("share.commit"), () => commit(share, refresh)),
      may("browse", share) && button(t("share.browse"), () => go(["shares", share, "browse"])),
    ] }),
    facts([
      [t("shares.protection"), protectionBadge(status)],
      [t("shares.now"), span(status.rpo_now_seconds)],
      [t("shares.objective"), span(status.rpo_seconds)],
      [t("shares.published"), status.head ? when(status.head.frozen) : t("protection.none")],
      [t("shares.size"), bytes(status.bytes)],
      [t("shares.files"), count(isBucket(status) ? "objects" : "files", status.files)],
      [t("shares.export"), h("code", {}, status.export)],
      status.warming && [t("share.warming"), gauge(t("share.warming"), status.warming.done_bytes, status.warming.total_bytes,
        t("here.of", { part: bytes(status.warming.done_bytes), whole: bytes(status.warming.total_bytes) }), [1, 1])],
      status.quota && [t("share.quota"), quota(status)],
      [t("share.id"), h("code", {}, status.id)],
    ]),
    section(t("snapshots.title"), { key: "snapshots" }, snapshotTable(status, snapshots, refresh)),
    bin.length > 0 && section(t("bin.title"), { key: "bin" }, h("p", { class: "note-line" }, t("bin.note")),
      binTable(share, bin, refresh)),
    section(t("heads.title"), { key: "heads" }, h("p", { class: "note-line" }, t("heads.note")), headTable(share, heads)),
  ];
}

function quota({ bytes: used, files, quota }) {
  const one = (label, n, limit, show) => {
    const most = limit.hard ?? limit.soft;
    if (!most) return null;
    const text = t("here.of", { part: show(n), whole: show(most) });
    const over = limit.grace_is_over ? t("quota.over") : limit.over_soft_since ? t("quota.soft") : null;
    return h("div", {}, gauge(label, n, most, text, [(limit.soft ?? most) / most, 1]),
      over && h("div", { class: "reason" }, over, " ", when(limit.over_soft_since)));
  };
  return [one(t("shares.size"), used, quota.bytes, bytes), one(t("shares.files"), files, quota.files, number)];
}

function snapshotTable({ name: share }, snapshots, refresh) {
  return table({
    caption: t("snapshots.title"), rows: snapshots, key: (snapshot) => snapshot.id, empty: t("snapshots.none"),
    columns: [
      { head: t("snapshots.name"), wide: true, cell: (snapshot) =>
        h("a", { href: link(["shares", share, "browse"], { at: `snapshot:${snapshot.id}` }) }, snapshot.name) },
      { head: t("snapshots.frozen"), number: true, cell: (snapshot) => date(snapshot.frozen) },
      { head: t("snapshots.age"), number: true, cell: (snapshot) => when(snapshot.frozen) },
      { head: t("snapshots.by"), cell: (snapshot) => snapshot.policy
        ? h("a", { href: link(["policies", snapshot.policy]) }, snapshot.policy) : t("snapshots.hand") },
      { head: t("snapshots.tags"), cell: (snapshot) =>
        Object.entries(snapshot.tags).map(([key, value]) => h("span", { class: "tag" }, `${key}=${value}`)) },
      { head: t("shares.size"), number: true, cell: (snapshot) => bytes(snapshot.bytes) },
      { head: t("table.actions"), tail: true, cell: (snapshot) => h("div", { class: "actions" },
        may("rollback", share) && button(t("snapshot.rollback"), () => rollBack(share, snapshot, refresh),
          { kind: "quiet", label: t("snapshot.rollback.label", { name: snapshot.name }) }),
        may("forget", share) && button(t("snapshot.forget"), () => forget(share, snapshot, refresh),
          { kind: "quiet", label: t("snapshot.forget.label", { name: snapshot.name }) })) },
    ],
  });
}

function binTable(share, bin, refresh) {
  return table({
    caption: t("bin.title"), rows: bin, key: (entry) => entry.id, empty: t("bin.none"),
    columns: [
      { head: t("snapshots.name"), wide: true, cell: (entry) =>
        h("a", { href: link(["shares", share, "browse"], { at: `snapshot:${entry.id}` }) }, entry.name) },
      { head: t("snapshots.frozen"), number: true, cell: (entry) => date(entry.frozen) },
      { head: t("bin.until"), number: true, cell: (entry) => (entry.until ? date(entry.until) : t("bin.stays")) },
      { head: t("shares.size"), number: true, cell: (entry) => bytes(entry.bytes) },
      { head: t("table.actions"), tail: true, cell: (entry) => h("div", { class: "actions" },
        may("snapshot", share) && button(t("bin.restore"), () => bringBack(share, entry, refresh),
          { kind: "quiet", label: t("bin.restore.label", { name: entry.name }) }),
        may("forget", share) && button(t("bin.end"), () => endInBin(share, entry, () => { known = null; refresh(); }),
          { kind: "quiet", label: t("bin.end.label", { name: entry.name }) })) },
    ],
  });
}

function headTable(share, heads) {
  return table({
    caption: t("heads.title"), rows: heads, key: (head) => head.name, empty: t("heads.none"),
    columns: [
      { head: t("heads.frozen"), number: true, cell: (head) =>
        h("a", { href: link(["shares", share, "browse"], { at: `head:${head.name}` }) }, date(head.frozen)) },
      { head: t("snapshots.age"), number: true, cell: (head) => when(head.frozen) },
      { head: t("heads.entries"), number: true, cell: (head) => number(head.cost.entries) },
      { head: t("heads.in"), number: true, cell: (head) => bytes(head.cost.bytes_in) },
      { head: t("heads.new"), number: true, cell: (head) => bytes(head.cost.bytes_unique) },
      { head: t("heads.uploaded"), number: true, cell: (head) => bytes(head.cost.bytes_uploaded) },
      { head: t("heads.took"), number: true, cell: (head) => span(head.cost.milliseconds / 1000) },
    ],
  });
}
