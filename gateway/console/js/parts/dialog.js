// Questions. The browser's own dialog: it keeps the focus in, gives it back, and closes on Escape.

import { h, patch } from "../dom.js";
import { t } from "../words.js";
import { button } from "./section.js";

/**
 * Asks, and does. `body(state, redraw)` are the contents, `act(state)` what the button does: while it goes on the
 * dialog stays, what it fails with is shown in it. `type` is a text that must be typed first.
 */
export function ask({ title, body, verb, act, danger = false, type, state = {} }) {
  let busy = false;
  let error = null;
  let typed = "";
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
  const close = () => dialog.close();
  const ready = () => !busy && (!type || typed === type);
  const go = async (event) => {
    event?.preventDefault();
    if (!ready()) return;
    [busy, error] = [true, null];
    redraw();
    try {
      await act(state, redraw);
      close();
    } catch (failure) {
      [busy, error] = [false, failure];
      redraw();
    }
  };
  const redraw = () => patch(dialog, h("form", { on: { submit: go } },
    h("h2", { id: "dialog-title" }, title),
    body(state, redraw),
    type && field(t("dialog.type", { text: type }), {
      value: typed, autocomplete: "off", on: { input: (event) => { typed = event.target.value; redraw(); } },
    }),
    error && h("div", { class: "note critical", role: "alert" },
      h("div", {}, error.message, error.todo && h("div", { class: "todo" }, error.todo))),
    h("div", { class: "actions" },
      button(t("dialog.cancel"), close, { kind: "quiet" }),
      h("button", { type: "submit", class: danger ? "danger" : "primary", disabled: !ready() },
        busy ? t("dialog.works") : verb))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  redraw();
  dialog.showModal();
}

/** A field with its label. */
export function field(label, props, options) {
  const { hint, ...rest } = props;
  const control = options
    ? h("select", rest, options.map(([value, text]) => h("option", { value, selected: value === rest.value }, text)))
    : h("input", { type: "text", ...rest });
  return h("label", { class: "field" }, h("span", {}, label), control, hint && h("small", {}, hint));
}

/** A box to be ticked. */
export const tick = (label, checked, change) => h("label", { class: "tick" },
  h("input", { type: "checkbox", checked, on: { change: (event) => change(event.target.checked) } }), label);
