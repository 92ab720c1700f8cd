// Who has no session yet.

import { h } from "../dom.js";
import { heading } from "../parts/section.js";
import { field } from "../parts/dialog.js";
import { login } from "../session.js";
import { t } from "../words.js";

export const title = () => t("login.title");

const state = { busy: false, error: null };

/** `done` is called once there is a session. The token stays in its field alone. */
export function view(done, redraw) {
  const submit = async (event) => {
    event.preventDefault();
    const input = event.target.querySelector("input");
    [state.busy, state.error] = [true, null];
    redraw();
    try {
      const who = await login(input.value.trim());
      input.value = "";
      state.busy = false;
      if (who) return done();
      state.error = t("login.refused");
    } catch (error) {
      state.error = error.status === 401 || error.status === 403 ? t("login.refused") : error.message;
    }
    state.busy = false;
    redraw();
  };
  return h("div", { class: "login" },
    heading(title(), { note: t("login.note") }),
    h("form", { on: { submit } },
      field(t("login.token"), { type: "password", autocomplete: "current-password", required: true, spellcheck: "false" }),
      state.error && h("div", { class: "note critical", role: "alert" }, state.error),
      h("button", { type: "submit", class: "primary", disabled: state.busy }, t("login.verb"))));
}
