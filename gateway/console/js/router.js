// Which page an address means. Addresses stand behind the hash, so that the gateway needs no routes for them.

/** Reads an address: its names, and what stands behind the question mark. */
export function parse(hash) {
  const [where, query] = hash.replace(/^#\/?/, "").split("?", 2);
  const names = where.split("/").filter((name) => name !== "").map(decoded);
  return { names, query: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

function decoded(name) {
  try { return decodeURIComponent(name); } catch { return name; }
}

/** The address of names and a query. */
export function link(names, query) {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
  const text = pairs.length ? `?${new URLSearchParams(pairs)}` : "";
  return `#/${names.map(encodeURIComponent).join("/")}${text}`;
}

/** Finds the route of names: `[pattern, page]`, a pattern being names and, for what varies, `:name`. */
export function find(routes, names) {
  for (const [pattern, page] of routes) {
    if (pattern.length !== names.length) continue;
    const fits = pattern.every((part, at) => part.startsWith(":") || part === names[at]);
    if (!fits) continue;
    const params = {};
    pattern.forEach((part, at) => { if (part.startsWith(":")) params[part.slice(1)] = names[at]; });
    return { page, params };
  }
  return null;
}

/** Goes somewhere. */
export const go = (names, query) => { location.hash = link(names, query); };
