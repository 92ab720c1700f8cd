// How well a share is protected, in words.

import { h } from "../dom.js";
import { t } from "../words.js";
import { span } from "../format.js";
import { badge } from "./badge.js";

/** The kind of its state, and the words for it. */
export function protection(share) {
  if (share.state === "failed" || share.state === "superseded") {
    return { kind: "critical", text: t(`state.${share.state}`) };
  }
  if (share.rpo_now_seconds > share.rpo_seconds) {
    return { kind: "critical", text: t("protection.late", { span: span(share.rpo_now_seconds) }) };
  }
  if (share.state === "full") return { kind: "warning", text: t("state.full") };
  if (share.state === "following") return { kind: "good", text: t("state.following") };
  if (share.rpo_now_seconds > 0) {
    return { kind: "good", text: t("protection.behind", { span: span(share.rpo_now_seconds) }) };
  }
  if (!share.head) return { kind: "idle", text: t("protection.none") };
  return { kind: "good", text: t("protection.whole") };
}

/** The same, to be looked at. */
export function protectionBadge(share) {
  const { kind, text } = protection(share);
  return h("div", {}, badge(kind, text), share.reason && h("div", { class: "reason" }, share.reason));
}

/** Whether it is a bucket of objects: nothing to mount, its files have no paths of their own. */
export const isBucket = (share) => share.export.startsWith("s3://");
