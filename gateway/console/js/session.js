// Who sits here, and what they may do. The gateway decides that anew with every call; the console only leaves out
// what it would refuse.

import { ApiError, carry, get, post, remove } from "./api.js";

/** The right that each kind of call needs. */
const NEEDS = {
  read: "read", browse: "browse", audit: "audit",
  commit: "operate", snapshot: "operate", restore: "operate", download: "operate", run: "operate", drill: "operate",
  cancel: "operate", limit: "operate",
  forget: "administer", rollback: "administer", promote: "administer",
};
const EVERYTHING = [...new Set(Object.values(NEEDS))];
let who = null;

/** The session; null before one is known. */
export const session = () => who;

/**
 * Asks who this is. Null: a login is needed. A gateway without sessions answers 404: whoever reaches it has passed
 * its socket's own door, and may do everything.
 */
export async function recall() {
  try {
    take(await get("/session"));
  } catch (error) {
    if (!(error instanceof ApiError) || ![401, 404].includes(error.status)) throw error;
    if (error.status === 404) take({ name: null, role: "admin", rights: EVERYTHING });
    else who = null;
  }
  return who;
}

/** Begins a session with a token. */
export async function login(token) {
  const answer = await post("/session", { token });
  // Whatever it answers, the cookie decides.
  if (answer?.csrf) carry(answer.csrf);
  return recall();
}

/** Ends it. */
export async function logout() {
  await remove("/session");
  who = null;
  carry(null);
}

/** Forgets who this is: the session has ended elsewhere. */
export function forget() {
  who = null;
  carry(null);
}

function take(answer) {
  who = answer;
  carry(answer.csrf);
}

/** Whether this session may do something, to a share if one is meant. */
export function may(what, share) {
  const inReach = share === undefined || !who?.shares || who.shares.includes(share);
  return inReach && (who?.rights ?? []).includes(NEEDS[what]);
}
