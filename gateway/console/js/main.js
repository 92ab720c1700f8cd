// Puts a page where its address says, keeps it fresh, and asks for a login where one is needed.

import { failed, say } from "./announce.js";
import { ApiError, get, whenDenied } from "./api.js";
import { h, patch } from "./dom.js";
import { frame } from "./frame.js";
import { Live } from "./live.js";
import * as alarms from "./pages/alarms.js";
import * as browse from "./pages/browse.js";
import * as dr from "./pages/dr.js";
import * as jobs from "./pages/jobs.js";
import * as loginPage from "./pages/login.js";
import * as overview from "./pages/overview.js";
import * as policies from "./pages/policies.js";
import * as policy from "./pages/policy.js";
import { recordsPage } from "./pages/records.js";
import * as run from "./pages/run.js";
import * as share from "./pages/share.js";
import * as shares from "./pages/shares.js";
import * as sources from "./pages/sources.js";
import * as targets from "./pages/targets.js";
import { heading } from "./parts/section.js";
import { find, parse } from "./router.js";
import { forget, logout, may, recall, session } from "./session.js";
import { wear } from "./theme.js";
import { choose, learn, t } from "./words.js";

const ROUTES = [
  [[], overview], [["alarms"], alarms], [["shares"], shares], [["shares", ":share"], share],
  [["shares", ":share", "browse"], browse], [["policies"], policies], [["policies", ":policy"], policy],
  [["sources"], sources], [["targets"], targets], [["jobs"], jobs], [["dr"], dr], [["dr", ":runbook", ":run"], run],
  [["clients"], recordsPage("clients", "/clients", ["clients"])],
  [["keys"], recordsPage("keys", "/keys", ["keys", "slots"])],
  [["audit"], recordsPage("audit", "/audit", ["records"])],
];
/** What a gateway may or may not have. */
const OPTIONAL = {
  dr: async () => (await dr.planOf()) ?? (await dr.runbooksOf()),
  clients: () => get("/clients"),
  keys: () => get("/keys"),
  audit: () => (may("audit") ? get("/audit") : null),
};
const ALARMS_EVERY = 5_000;

const main = document.getElementById("main");
const state = { names: [], there: new Set(), alarms: 0, trouble: null, open: false };
const acts = {
  speak: async (language) => { await choose(language); draw(); },
  leave: async () => { await logout().catch(failed); stop(); arrive(); },
  toggle: () => { state.open = !state.open; draw(); },
  redraw: () => draw(),
};
/** The page that is shown: `{ page, params, query, data, error, live, key }`. */
let shown = null;
let watch = null;
let settled = false;

function draw() {
  frame(state, acts);
  if (!session()) {
    document.title = `${loginPage.title()} · Tidegate`;
    return patch(main, loginPage.view(begin, draw));
  }
  if (!shown) return patch(main, heading(t("page.missing")), h("p", {}, t("page.missing.text")));
  const { page, params, query, data, error, key } = shown;
  document.title = `${page.title(params)} · Tidegate`;
  const at = { params, query, refresh: () => shown?.live.now(), redraw: draw };
  const body = data !== undefined ? page.view(data, at)
    : error ? [heading(page.title(params)), trouble(error)] : [heading(page.title(params)), h("p", { class: "empty" }, t("page.loading"))];
  patch(main, h("div", { key, class: "page" }, body));
}

function trouble(error) {
  return h("div", { class: "note critical", role: "alert" },
    h("div", {}, error.message, error.todo && h("div", { class: "todo" }, error.todo)));
}

function arrive() {
  const { names, query } = parse(location.hash);
  shown?.live.stop();
  Object.assign(state, { names, open: false });
  const found = find(ROUTES, names);
  shown = null;
  if (!session() || !found) {
    draw();
    return;
  }
  const { page, params } = found;
  const here = { page, params, query, data: undefined, error: null, key: names.join("/") };
  let first = true;
  const told = (data) => {
    Object.assign(here, { data, error: null });
    reached(null);
    draw();
    if (first) settle(page.title(params));
    first = false;
  };
  const missed = (error) => {
    here.error = error;
    // What a page asks for is not there: older data would say it is.
    if (error.status === 404 || error.status === 400) here.data = undefined;
    reached(error);
    draw();
  };
  here.live = new Live(() => page.load(params, query), page.every, told, missed);
  shown = here;
  draw();
  here.live.now();
}

/** A new page has come: say so, and begin reading there. The first one is read from the beginning of the document. */
function settle(title) {
  const isFirst = !settled;
  settled = true;
  if (isFirst) return;
  say(title);
  if (document.activeElement === document.body || document.activeElement?.closest("#nav, #main")) {
    document.getElementById("title")?.focus({ preventScroll: true });
  }
  scrollTo(0, 0);
}

function reached(error) {
  const away = error instanceof ApiError && (error.status === 0 || error.status >= 500) ? error.message : null;
  if (Boolean(away) !== Boolean(state.trouble)) say(away ? t("frame.away", { why: away }) : t("frame.live"));
  state.trouble = away;
}

/** Counts alarms whatever page is shown, and says new ones. */
function watchAlarms() {
  let known = null;
  watch?.stop();
  watch = new Live(() => get("/alarms"), ALARMS_EVERY, (found) => {
    const names = new Set(found.map((alarm) => `${alarm.code} ${alarm.subject}`));
    const fresh = found.filter((alarm) => known && !known.has(`${alarm.code} ${alarm.subject}`));
    if (fresh.length > 0) say(`${t("announce.alarm")} ${fresh[0].message}`);
    known = names;
    if (state.alarms !== found.length) {
      state.alarms = found.length;
      draw();
    }
  }, () => {});
  watch.now();
}

function stop() {
  watch?.stop();
  shown?.live.stop();
  shown = null;
}

/** There is a session: look what this gateway has, and go on. */
async function begin() {
  arrive();
  watchAlarms();
  await Promise.all(Object.entries(OPTIONAL).map(async ([name, ask]) => {
    try {
      if (await ask()) state.there.add(name);
    } catch (error) {
      if (![403, 404].includes(error.status)) state.there.add(name);
    }
  }));
  draw();
}

async function start() {
  wear();
  await learn();
  whenDenied(() => { forget(); stop(); draw(); });
  addEventListener("hashchange", arrive);
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  try {
    await recall();
  } catch (error) {
    patch(main, heading("Tidegate"), trouble(error));
    setTimeout(() => location.reload(), 5_000);
    return;
  }
  if (session()) await begin();
  else draw();
}

start();
