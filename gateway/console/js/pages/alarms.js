// What is wrong now, the most urgent first, with what to do.

import { get } from "../api.js";
import { h } from "../dom.js";
import { when } from "../format.js";
import { badge, shape } from "../parts/badge.js";
import { heading } from "../parts/section.js";
import { link } from "../router.js";
import { knows, t } from "../words.js";

export const title = () => t("alarms.title");
export const every = 3_000;
export const load = () => get("/alarms");

export function view(alarms) {
  return [
    heading(title(), { note: t("alarms.note") }),
    alarms.length > 0 ? alarmList(alarms)
      : h("div", { class: "verdict good" }, shape("good"), h("div", {}, h("strong", {}, t("alarms.none")))),
  ];
}

/** Alarms as a list. */
export function alarmList(alarms) {
  return h("ul", { class: "alarms" }, alarms.map((alarm) =>
    h("li", { key: `${alarm.code} ${alarm.subject}`, class: alarm.severity },
      h("div", { class: "alarm-head" },
        badge(alarm.severity, t(`severity.${alarm.severity}`)),
        h("strong", {}, named(alarm.code)), subject(alarm.subject),
        h("span", { class: "since" }, t("alarms.since"), " ", when(alarm.since))),
      h("p", {}, alarm.message),
      h("p", { class: "todo" }, h("b", {}, t("alarms.todo")), " ", alarm.todo))));
}

function named(code) {
  return knows(`alarm.${code}`) ? t(`alarm.${code}`) : code;
}

/** What it is about, with the way there. */
function subject(text) {
  const [kind, name] = text.split(/:(.*)/s);
  const where = { share: ["shares", name], bucket: ["shares", name], policy: ["policies", name], target: ["targets"] }[kind];
  return where && name ? h("a", { href: link(where) }, text) : h("span", {}, text);
}
