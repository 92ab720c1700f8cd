// The files of a share as they are, or were at a moment; one of them, or a folder, downloaded or put back.

import { address, ended, get, path, post } from "../api.js";
import { note } from "../announce.js";
import { h } from "../dom.js";
import { absolute, bytes, date, mode, number, short } from "../format.js";
import { ask, field, tick } from "../parts/dialog.js";
import { progress } from "../parts/gauge.js";
import { button, facts, heading } from "../parts/section.js";
import { table } from "../parts/table.js";
import { go, link } from "../router.js";
import { may } from "../session.js";
import { count, t } from "../words.js";

const PAGE = 200;

export const title = ({ share }) => t("browse.title", { share });
// What is live changes; what was frozen does not, but the list of moments does.
export const every = 15_000;

const momentOf = (query) => query.at ?? "live";
const folderOf = (query) => query.path ?? "/";

export async function load({ share }, query) {
  const where = path("shares", share);
  const asked = { at: momentOf(query), path: folderOf(query), after: query.after, limit: PAGE };
  const [page, snapshots] = await Promise.all([get(`${where}/files`, asked), get(`${where}/snapshots`)]);
  return { page, snapshots };
}

export function view({ page, snapshots }, { params: { share }, query }) {
  const [at, folder] = [momentOf(query), folderOf(query)];
  const to = (more) => link(["shares", share, "browse"], { at, path: folder, ...more });
  return [
    heading(title({ share }), {
      trail: [[t("shares.title"), link(["shares"])], [share, link(["shares", share])]],
      note: page.frozen ? t("browse.frozen", { time: absolute(page.frozen) }) : t("browse.live"),
      actions: [at !== "live" && folder !== "/" && may("restore", share)
        && button(t("restore.folder"), () => restore(share, at, { path: folder, kind: "directory" }, page.frozen))],
    }),
    h("div", { class: "toolbar" },
      field(t("browse.moment"), { value: at, on: { change: (event) =>
        go(["shares", share, "browse"], { at: event.target.value, path: folder }) } }, moments(at, snapshots, page.frozen)),
      h("nav", { class: "crumbs", "aria-label": t("browse.place") }, crumbs(folder, to))),
    table({
      caption: t("browse.files", { path: folder }), rows: page.files, key: (file) => file.path, empty: t("browse.empty"),
      columns: [
        { head: t("file.name"), wide: true, cell: (file) => name(file, to) },
        { head: t("file.size"), number: true, cell: (file) => (file.kind === "file"
          ? h("span", { title: `${number(file.bytes)} B` }, bytes(file.bytes)) : "–") },
        { head: t("file.modified"), number: true, cell: (file) => date(file.modified) },
        { head: t("file.mode"), cell: (file) => h("code", { class: "nowrap" }, mode(file.mode)) },
        { head: t("file.owner"), number: true, cell: (file) => `${file.uid}:${file.gid}` },
        { head: t("table.actions"), tail: true, cell: (file) => actions(share, at, file, page.frozen) },
      ],
    }),
    h("nav", { class: "pages", "aria-label": t("browse.pages") },
      query.after && h("a", { class: "button", href: to({}) }, t("browse.first")),
      page.next && h("a", { class: "button", href: to({ after: page.next }) }, t("browse.next"))),
  ];
}

function moments(at, snapshots, frozen) {
  const found = snapshots.map((one) => [`snapshot:${one.id}`, `${short(one.frozen)}  ${one.name}`]);
  const known = at === "live" || found.some(([value]) => value === at);
  const other = known ? [] : [[at, frozen ? t("browse.head", { time: short(frozen) }) : at]];
  return [["live", t("browse.now")], ...other, ...found];
}

function crumbs(folder, to) {
  const names = folder.split("/").filter((name) => name !== "");
  const steps = names.map((name, at) => [name, `/${names.slice(0, at + 1).join("/")}`]);
  return h("ol", {}, [[t("browse.top"), "/"], ...steps].map(([name, where], at) => h("li", {},
    at === names.length ? h("span", { "aria-current": "page" }, name) : h("a", { href: to({ path: where }) }, name))));
}

function name(file, to) {
  const kind = h("span", { class: `file-kind ${file.kind}`, "aria-hidden": "true" });
  if (file.kind === "directory") {
    return h("span", { class: "file" }, kind, h("a", { href: to({ path: file.path }) }, file.name, "/"));
  }
  return h("span", { class: "file" }, kind, h("span", {}, file.name, file.target !== undefined && ` → ${file.target}`));
}

function actions(share, at, file, frozen) {
  const where = address(`${path("shares", share)}/file`, { at, path: file.path });
  return h("div", { class: "actions" },
    file.kind === "file" && may("download", share)
      && h("a", { class: "button quiet", href: where, download: "", "aria-label": t("file.download.label", { name: file.name }) },
        t("file.download")),
    at !== "live" && may("restore", share)
      && button(t("restore.verb"), () => restore(share, at, file, frozen),
        { kind: "quiet", label: t("restore.label", { name: file.name }) }));
}

/** Says first what would happen, then does it. */
async function restore(share, at, file, frozen) {
  const where = `${path("shares", share)}/restore`;
  const request = (state, dry_run) => ({ from: at, path: file.path, remove_newer: state.newer, dry_run });
  const state = { newer: false, plan: null, job: null };
  const look = async (redraw) => {
    state.plan = null;
    redraw();
    try {
      state.plan = await ended(await post(where, request(state, true)));
    } catch (error) {
      state.plan = { error };
    }
    redraw();
  };
  let looked = false;
  ask({
    title: t("restore.title", { path: file.path }), verb: t("restore.verb"), state,
    body: (_, redraw) => {
      if (!looked) {
        looked = true;
        queueMicrotask(() => look(redraw));
      }
      return [
        h("p", {}, t("restore.text", { share, time: frozen ? absolute(frozen) : at })),
        file.kind === "directory" && tick(t("restore.newer"), state.newer, (newer) => { state.newer = newer; look(redraw); }),
        h("div", { "aria-live": "polite" }, planned(state.plan)),
        state.job && progress(state.job),
      ];
    },
    act: async (_, redraw) => {
      const report = await ended(await post(where, request(state, false)), (job) => { state.job = job; redraw(); });
      note("good", t("restore.done", { path: file.path, files: count("files", report.files) }));
    },
  });
}

function planned(plan) {
  if (!plan) return h("p", { class: "empty" }, t("restore.looking"));
  if (plan.error) return h("p", { class: "reason" }, plan.error.message);
  return facts([
    [t("restore.files"), number(plan.files)], [t("restore.bytes"), bytes(plan.bytes)],
    [t("restore.unchanged"), number(plan.unchanged)], [t("restore.removed"), number(plan.removed)],
  ]);
}
