// The parts of a page: its heading, its sections, lists of facts, large numbers.

import { h } from "../dom.js";

/** The heading of a page, with what can be done on it. `trail`: links to the pages above. */
export function heading(text, { trail = [], actions = [], note } = {}) {
  return h("div", { class: "heading" },
    h("div", {},
      trail.length > 0 && h("p", { class: "trail" }, trail.map(([name, href]) => [h("a", { href }, name), " / "])),
      h("h1", { id: "title", tabindex: -1 }, text),
      note && h("p", { class: "note-line" }, note)),
    h("div", { class: "actions" }, actions));
}

/** A section with a heading of its own. */
export function section(title, { actions = [], key } = {}, ...children) {
  const id = `section-${key ?? title}`.replace(/\W+/g, "-");
  return h("section", { "aria-labelledby": id, key: key ?? title },
    h("div", { class: "section-head" }, h("h2", { id }, title), h("div", { class: "actions" }, actions)), children);
}

/** Names and values. */
export const facts = (pairs) => h("dl", { class: "facts" },
  pairs.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

/** A large number with what it means. */
export const figure = ({ label, value, note, kind }) => h("div", { class: `figure ${kind ?? ""}` },
  h("div", { class: "label" }, label), h("div", { class: "value" }, value), h("div", { class: "explains" }, note));

/** A button. */
export const button = (text, click, { kind = "", label, disabled } = {}) =>
  h("button", { type: "button", class: kind || null, "aria-label": label, disabled, on: { click } }, text);
