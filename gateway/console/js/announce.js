// What happened, for eyes and for screen readers.

import { h, patch } from "./dom.js";
import { t } from "./words.js";

const NOTES_MAX = 4;
const NOTE_TIME = 12_000;
let notes = [];
let nextKey = 0;

/** Says something to screen readers alone. */
export function say(text) {
  const place = document.getElementById("announce");
  place.textContent = "";
  // A change is said, the same text again is not.
  requestAnimationFrame(() => { place.textContent = text; });
}

/** Shows a note until it is put away; a good one goes by itself. */
export function note(kind, text, todo) {
  const key = nextKey++;
  notes = [...notes, { key, kind, text, todo }].slice(-NOTES_MAX);
  if (kind === "good") setTimeout(() => away(key), NOTE_TIME);
  show();
}

/** Shows what failed, with what to do. */
export const failed = (error) => note("critical", error.message, error.todo);

function away(key) {
  notes = notes.filter((note) => note.key !== key);
  show();
}

function show() {
  patch(document.getElementById("notes"), notes.map(({ key, kind, text, todo }) =>
    h("div", { key, class: `note ${kind}`, role: kind === "critical" ? "alert" : "status" },
      h("div", {}, h("strong", {}, t(`note.${kind}`)), " ", text, todo && h("div", { class: "todo" }, todo)),
      h("button", { class: "quiet", "aria-label": t("note.away"), on: { click: () => away(key) } }, "×"))));
}
