// The months of a policy to come: on which days something is kept, and by which rule.

import { h } from "../dom.js";
import { count, spoken, t } from "../words.js";

/** From the rule that keeps longest to the one that keeps shortest: a day shows the first that it has. */
export const RULES = ["yearly", "monthly", "weekly", "daily", "hourly", "within", "last", "tag", "newest"];
const MONTHS_MAX = 130;

/** Days as `2026-11-26`, in the reader's zone. */
export const dayOf = (time) => new Intl.DateTimeFormat("sv-SE").format(new Date(time));

/** `kept`: `[{ taken, kept_by }]`. Months from the first to the last of them, oldest first. */
export function calendar(kept) {
  const days = new Map();
  for (const { taken, kept_by } of kept) {
    const day = days.get(dayOf(taken)) ?? { n: 0, rules: new Set() };
    day.n += 1;
    kept_by.forEach((rule) => day.rules.add(rule));
    days.set(dayOf(taken), day);
  }
  const months = [...new Set([...days.keys()].map((day) => day.slice(0, 7)))].sort().slice(-MONTHS_MAX);
  return h("div", { class: "months" }, months.map((name) => month(name, days)));
}

function month(name, days) {
  const [year, number] = name.split("-").map(Number);
  const first = new Date(year, number - 1, 1);
  const length = new Date(year, number, 0).getDate();
  const before = (first.getDay() + 6) % 7;
  const cells = [...Array(before).fill(null), ...Array.from({ length }, (_, at) => at + 1)];
  while (cells.length % 7) cells.push(null);
  const weeks = Array.from({ length: cells.length / 7 }, (_, at) => cells.slice(at * 7, at * 7 + 7));
  const title = new Intl.DateTimeFormat(spoken(), { year: "numeric", month: "long" }).format(first);
  return h("table", { class: "month", key: name }, h("caption", {}, title),
    h("thead", {}, h("tr", {}, weekdays().map(([long, short]) => h("th", { scope: "col", abbr: long }, short)))),
    h("tbody", {}, weeks.map((week) => h("tr", {}, week.map((day) => cell(name, day, days))))));
}

function cell(month, day, days) {
  if (day === null) return h("td", { class: "outside" });
  const found = days.get(`${month}-${String(day).padStart(2, "0")}`);
  if (!found) return h("td", {}, day);
  const rules = RULES.filter((rule) => found.rules.has(rule));
  const names = rules.map((rule) => t(`rule.${rule}`)).join(", ");
  const text = `${day}: ${count("snapshots", found.n)}, ${names}`;
  return h("td", { class: `kept ${rules[0]}`, title: text },
    h("span", { "aria-hidden": "true" }, day, h("i", {}, t(`rule.letter.${rules[0]}`))), h("span", { class: "unseen" }, text));
}

function weekdays() {
  // 2024-01-01 was a Monday.
  const name = (at, weekday) => new Intl.DateTimeFormat(spoken(), { weekday }).format(new Date(2024, 0, 1 + at));
  return Array.from({ length: 7 }, (_, at) => [name(at, "long"), name(at, "narrow")]);
}

/** What the letters mean. */
export const legend = (kept) => h("p", { class: "legend-line" },
  RULES.filter((rule) => kept.some(({ kept_by }) => kept_by.includes(rule)))
    .map((rule) => h("span", { class: `key ${rule}` }, h("b", {}, t(`rule.letter.${rule}`)), " ", t(`rule.${rule}`))));
