// Calls of the admin API, from the place that the page came from.

const BASE = "/api/v1";
/** Carries the value that a session gives for changes. */
const CSRF_HEADER = "x-tidegate-csrf";
/** How long a call may take, in milliseconds; one that waits for a job takes up to a minute. */
const TIME_MAX = 90_000;
let csrf = null;
let skew = 0;
let onDenied = () => {};

/** A call that failed: `status` of HTTP (0: no answer), and the kind, message and next step of the gateway. */
export class ApiError extends Error {
  constructor(status, body) {
    super(body?.message ?? `${status}`);
    this.status = status;
    this.kind = body?.kind ?? null;
    this.todo = body?.todo ?? null;
  }
}

/** Carries this value with changes. */
export const carry = (value) => { csrf = value ?? null; };

/** Is called when the session has ended. */
export const whenDenied = (handler) => { onDenied = handler; };

/** The gateway's clock, in milliseconds since 1970: ages are told by it, whatever this machine's clock says. */
export const serverNow = () => Date.now() + skew;

/** A path made of names; each is quoted. */
export const path = (...names) => `/${names.map((name) => encodeURIComponent(name)).join("/")}`;

/** The address of something to be loaded by the browser itself. */
export const address = (where, query) => `${BASE}${where}${queryText(query)}`;

export const get = (where, query) => call("GET", where + queryText(query));
export const post = (where, body) => call("POST", where, body ?? {});
export const remove = (where) => call("DELETE", where);

function queryText(query) {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

async function call(method, where, body) {
  const headers = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (method !== "GET" && csrf) headers[CSRF_HEADER] = csrf;
  let answer;
  try {
    answer = await fetch(BASE + where, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin", cache: "no-store", redirect: "error", signal: AbortSignal.timeout(TIME_MAX),
    });
  } catch (error) {
    throw new ApiError(0, { message: String(error.message ?? error) });
  }
  const date = Date.parse(answer.headers.get("date") ?? "");
  // The header is to the second: small differences mean nothing.
  if (date && Math.abs(date - Date.now()) > 2_000) skew = date - Date.now();
  else if (date) skew = 0;
  const text = await answer.text();
  const data = parsed(text);
  if (answer.ok) return data;
  const error = new ApiError(answer.status, typeof data === "object" ? data : { message: text.trim() });
  if (answer.status === 401 && where !== "/session") onDenied(error);
  throw error;
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return text; }
}

/** Waits for the end of a job; `seen` is told how far it is. Throws what it failed with. */
export async function ended(job, seen = () => {}) {
  while (job.state === "running" || job.state === "cancelling") {
    seen(job);
    job = await get(path("jobs", job.id), { wait_seconds: 1 });
  }
  seen(job);
  if (job.state !== "succeeded") throw new ApiError(200, job.error);
  return job.result;
}
