// Long work: how far it is, how it ended, and stopping it.

import { get, path, post } from "../api.js";
import { failed, note } from "../announce.js";
import { h } from "../dom.js";
import { span, when } from "../format.js";
import { badge } from "../parts/badge.js";
import { progress } from "../parts/gauge.js";
import { button, heading } from "../parts/section.js";
import { table } from "../parts/table.js";
import { may } from "../session.js";
import { knows, t } from "../words.js";

const KINDS = { running: "busy", cancelling: "busy", succeeded: "good", failed: "critical", cancelled: "idle" };

export const title = () => t("jobs.title");
export const every = 1_500;
export const load = () => get("/jobs");

/** What a job does, in words. */
export const kindOf = (job) => (knows(`jobkind.${job.kind}`) ? t(`jobkind.${job.kind}`) : job.kind);

export function view(jobs, { refresh }) {
  return [
    heading(title(), { note: t("jobs.note") }),
    table({
      caption: title(), rows: jobs, key: (job) => job.id, empty: t("jobs.none"),
      columns: [
        { head: t("job.kind"), cell: kindOf },
        { head: t("job.of.what"), cell: (job) => job.share },
        { head: t("job.state"), cell: (job) => badge(KINDS[job.state], t(`jobstate.${job.state}`)) },
        { head: t("job.progress"), wide: true, cell: (job) => (job.ended ? said(job) : progress(job)) },
        { head: t("job.started"), number: true, cell: (job) => when(job.started) },
        { head: t("job.took"), number: true, cell: (job) => (job.ended ? span((Date.parse(job.ended) - Date.parse(job.started)) / 1000) : "–") },
        { head: t("table.actions"), tail: true, cell: (job) => job.state === "running" && may("cancel")
          && button(t("job.cancel"), () => cancel(job, refresh), { label: t("job.cancel.label", { kind: kindOf(job), share: job.share }) }) },
      ],
    }),
  ];
}

function said(job) {
  if (job.error) return h("div", { class: "reason" }, job.error.message, job.error.todo && h("div", { class: "todo" }, job.error.todo));
  if (!job.result) return "";
  return h("details", {}, h("summary", {}, t("job.result")), h("pre", {}, JSON.stringify(job.result, null, 2)));
}

async function cancel(job, refresh) {
  try {
    await post(`${path("jobs", job.id)}/cancel`);
    note("good", t("job.cancelling"));
  } catch (error) {
    failed(error);
  }
  refresh();
}
