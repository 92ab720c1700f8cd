// What stands around every page: the bar above, the way to all pages.

import { h, patch } from "./dom.js";
import { shape } from "./parts/badge.js";
import { button } from "./parts/section.js";
import { link } from "./router.js";
import { may, session } from "./session.js";
import { setTheme, theme, themes } from "./theme.js";
import { languages, spoken, t } from "./words.js";

/** The pages in the order of the menu; `needs` is found out by asking the gateway. */
const MENU = [
  { name: "overview", to: [] },
  { name: "alarms", to: ["alarms"] },
  { name: "shares", to: ["shares"] },
  { name: "policies", to: ["policies"] },
  { name: "sources", to: ["sources"] },
  { name: "targets", to: ["targets"] },
  { name: "dr", to: ["dr"], needs: "dr" },
  { name: "jobs", to: ["jobs"] },
  { name: "clients", to: ["clients"], needs: "clients" },
  { name: "keys", to: ["keys"], needs: "keys" },
  { name: "audit", to: ["audit"], needs: "audit" },
];

/** `state`: `{ names, there, alarms, trouble, open }`; `acts`: `{ speak, leave, toggle, redraw }`. */
export function frame(state, acts) {
  document.getElementById("skip").textContent = t("frame.skip");
  patch(document.getElementById("top"), bar(state, acts));
  const nav = document.getElementById("nav");
  nav.setAttribute("aria-label", t("frame.menu"));
  nav.className = state.open ? "open" : "";
  patch(nav, session() ? menu(state) : []);
}

function bar({ trouble, open }, { speak, leave, toggle, redraw }) {
  return [
    session() && h("button", { type: "button", class: "quiet menu", "aria-expanded": String(open), "aria-controls": "nav", on: { click: toggle } },
      h("span", { "aria-hidden": "true" }, "☰"), h("span", { class: "unseen" }, t("frame.menu"))),
    h("a", { class: "brand", href: "#/" }, "Tidegate"),
    h("div", { class: "live", role: "status" }, session() && (trouble
      ? [shape("critical"), h("span", {}, t("frame.away", { why: trouble }))] : [shape("good"), h("span", {}, t("frame.live"))])),
    choice(t("frame.language"), languages(), spoken(), speak),
    choice(t("frame.theme"), themes().map((name) => [name, t(`theme.${name}`)]), theme(), (name) => { setTheme(name); redraw(); }),
    session()?.name && h("span", { class: "who" }, session().name, " ", h("span", { class: "dim" }, role(session().role))),
    session()?.csrf && button(t("frame.leave"), leave, { kind: "quiet" }),
  ];
}

const role = (name) => t(`role.${name}`);

function choice(label, options, value, change) {
  return h("label", { class: "choice" }, h("span", { class: "unseen" }, label),
    h("select", { value, title: label, on: { change: (event) => change(event.target.value) } },
      options.map(([name, text]) => h("option", { value: name, selected: name === value }, text))));
}

function menu({ names, there, alarms }) {
  const entries = MENU.filter(({ needs }) => (!needs || there.has(needs)) && (needs !== "audit" || may("audit")));
  return h("ul", {}, entries.map(({ name, to }) => {
    const here = to.length === 0 ? names.length === 0 : names[0] === to[0];
    return h("li", { key: name }, h("a", { href: link(to), "aria-current": here ? "page" : null },
      h("span", {}, t(`menu.${name}`)), name === "alarms" && alarms > 0 && h("span", { class: "count" }, alarms,
        h("span", { class: "unseen" }, " ", t("frame.alarms")))));
  }));
}
