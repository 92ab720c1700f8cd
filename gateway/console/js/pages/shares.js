// All shares.

import { get } from "../api.js";
import { h } from "../dom.js";
import { bytes, span, when } from "../format.js";
import { heading } from "../parts/section.js";
import { isBucket, protection, protectionBadge } from "../parts/shares.js";
import { table } from "../parts/table.js";
import { link } from "../router.js";
import { count, t } from "../words.js";

const ORDER = ["critical", "warning", "idle", "good"];

export const title = () => t("shares.title");
export const every = 3_000;
export const load = () => get("/shares");

export function view(shares) {
  const urgency = (share) => ORDER.indexOf(protection(share).kind);
  const rows = [...shares].sort((a, b) => urgency(a) - urgency(b));
  return [
    heading(title(), { note: t("shares.note") }),
    table({
      caption: title(), rows, key: (share) => share.name, empty: t("shares.none"),
      columns: [
        { head: t("shares.name"), cell: (share) => h("a", { href: link(["shares", share.name]) }, share.name) },
        { head: t("shares.protection"), cell: protectionBadge },
        { head: t("shares.now"), number: true, cell: (share) => span(share.rpo_now_seconds) },
        { head: t("shares.objective"), number: true, cell: (share) => span(share.rpo_seconds) },
        { head: t("shares.published"), number: true, cell: (share) => (share.head ? when(share.head.frozen) : "–") },
        { head: t("shares.size"), number: true, cell: (share) => bytes(share.bytes) },
        { head: t("shares.files"), number: true, cell: (share) => count(isBucket(share) ? "objects" : "files", share.files) },
        { head: t("shares.export"), wide: true, cell: (share) => h("code", {}, share.export) },
      ],
    }),
  ];
}
