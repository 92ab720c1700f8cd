// All policies: when they run, and how the last run ended.

import { get } from "../api.js";
import { h } from "../dom.js";
import { number, when } from "../format.js";
import { badge } from "../parts/badge.js";
import { heading } from "../parts/section.js";
import { table } from "../parts/table.js";
import { link } from "../router.js";
import { t } from "../words.js";

export const title = () => t("policies.title");
export const every = 4_000;
export const load = () => get("/policies");

/** How its last run ended. */
export function outcome(policy) {
  if (policy.running) return badge("busy", t("policy.running"));
  if (policy.last_run?.error) return h("div", {}, badge("critical", t("policy.failed")), h("div", { class: "reason" }, policy.last_run.error));
  if (policy.due && policy.next && policy.due < policy.next) return badge("warning", t("policy.late"));
  if (!policy.last_run && !policy.last_success) return badge("idle", t("policy.never"));
  const lacks = policy.last_run?.shares.find((share) => share.lacks)?.lacks;
  return lacks ? h("div", {}, badge("warning", t("policy.lacks")), h("div", { class: "reason" }, lacks)) : badge("good", t("policy.done"));
}

export function view(policies) {
  return [
    heading(title(), { note: t("policies.note") }),
    table({
      caption: title(), rows: policies, key: (policy) => policy.name, empty: t("policies.none"),
      columns: [
        { head: t("policy.name"), cell: (policy) => h("a", { href: link(["policies", policy.name]) }, policy.name) },
        { head: t("policy.outcome"), cell: outcome },
        { head: t("policy.of"), cell: (policy) => policy.shares.join(", ") },
        { head: t("policy.when"), cell: (policy) => h("code", {}, policy.when) },
        { head: t("policy.next"), number: true, cell: (policy) => when(policy.next) },
        { head: t("policy.last"), number: true, cell: (policy) => when(policy.last_success) },
        { head: t("policy.snapshots"), number: true, cell: (policy) => number(policy.snapshots) },
      ],
    }),
  ];
}
