// What lies outside the shares and is saved by policies.

import { ended, get, path, post } from "../api.js";
import { failed, note } from "../announce.js";
import { h } from "../dom.js";
import { bytes, number, when } from "../format.js";
import { badge } from "../parts/badge.js";
import { button, heading } from "../parts/section.js";
import { table } from "../parts/table.js";
import { may } from "../session.js";
import { t } from "../words.js";

export const title = () => t("sources.title");
export const every = 4_000;
export const load = () => get("/sources");

export function view(sources, { refresh }) {
  return [
    heading(title(), { note: t("sources.note") }),
    table({
      caption: title(), rows: sources, key: (source) => source.name, empty: t("sources.none"),
      columns: [
        { head: t("source.name"), cell: (source) => source.name },
        { head: t("source.what"), wide: true, cell: (source) => source.what },
        { head: t("source.state"), cell: state },
        { head: t("source.policies"), cell: (source) => source.policies.join(", ") || t("source.hand") },
        { head: t("source.last"), number: true, cell: ({ last_run }) => when(last_run?.ended) },
        { head: t("source.names"), number: true, cell: ({ last_run }) => (last_run ? number(last_run.names) : "–") },
        { head: t("source.new"), number: true, cell: ({ last_run }) => bytes(last_run?.bytes_new) },
        { head: t("table.actions"), tail: true, cell: (source) => may("run")
          && button(t("source.run"), () => run(source.name, refresh), { disabled: source.running, label: t("source.run.label", { name: source.name }) }) },
      ],
    }),
  ];
}

function state({ running, last_run }) {
  if (running) return badge("busy", t("source.running"));
  if (!last_run) return badge("idle", t("source.never"));
  if (last_run.error) return h("div", {}, badge("critical", t("source.failed")), h("div", { class: "reason" }, last_run.error));
  const [first] = last_run.left_out_paths;
  if (!first) return badge("good", t("source.done"));
  return h("div", {}, badge("warning", t("source.lacks", { n: number(last_run.left_out) })), h("div", { class: "reason" }, first.path, ": ", first.why));
}

async function run(source, refresh) {
  try {
    const job = await post(`${path("sources", source)}/run`);
    refresh();
    await ended(job);
    note("good", t("source.ran", { source }));
  } catch (error) {
    failed(error);
  }
  refresh();
}
