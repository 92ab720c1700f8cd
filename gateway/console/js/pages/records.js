// Lists that are shown as they come: clients, keys (what state they are in, never what they are), the audit log.

import { get } from "../api.js";
import { h } from "../dom.js";
import { date, number } from "../format.js";
import { heading } from "../parts/section.js";
import { table } from "../parts/table.js";
import { knows, t } from "../words.js";

const ROWS_MAX = 500;
/** What is never shown, should an answer ever have it. */
const SECRET = /secret|token|password|private|passphrase/i;
/** What says nothing to people. */
const DULL = new Set(["version", "previous", "digest"]);
const TIME = /^\d{4}-\d\d-\d\dT/;

/** A page of records under `where`; `lists` are the names under which an answer may keep them. */
export function recordsPage(name, where, lists) {
  const title = () => t(`records.${name}`);
  return {
    title, every: 5_000,
    load: () => get(where),
    view: (answer) => {
      const rows = rowsOf(answer, lists).slice(0, ROWS_MAX);
      return [
        heading(title(), { note: t(`records.${name}.note`) }),
        table({ caption: title(), rows, key: (row) => keyOf(row), empty: t("records.none"), columns: columnsOf(rows) }),
      ];
    },
  };
}

function rowsOf(answer, lists) {
  const rows = Array.isArray(answer) ? answer : lists.map((name) => answer?.[name]).find(Array.isArray) ?? [];
  // A record of the audit log has who, what and how in a table of its own.
  return rows.map(({ entry, ...row }) => ({ ...row, ...(entry ?? {}) }));
}

const keyOf = (row) => row.id ?? row.sequence ?? JSON.stringify(row);

function columnsOf(rows) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => !SECRET.test(name) && !DULL.has(name));
  return names.map((name) => ({
    head: knows(`column.${name}`) ? t(`column.${name}`) : name.replaceAll("_", " "),
    number: rows.every((row) => row[name] === undefined || typeof row[name] === "number"),
    cell: (row) => shown(row[name]),
  }));
}

function shown(value) {
  if (value === undefined || value === null) return "–";
  if (typeof value === "number") return number(value);
  if (typeof value === "boolean") return t(value ? "records.yes" : "records.no");
  if (typeof value === "string") return TIME.test(value) ? date(value) : value;
  if (Array.isArray(value)) return value.map(shown).flatMap((one, at) => (at ? [", ", one] : [one]));
  return h("code", {}, JSON.stringify(value, (name, part) => (SECRET.test(name) ? undefined : part)));
}
