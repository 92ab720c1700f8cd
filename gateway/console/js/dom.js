// Elements from data. Text is always text: nothing here, or anywhere in the console, reads a string as a document.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "open", "selected", "indeterminate"]);

/** An HTML element. `props`: attributes, `on` (handlers by event), `key` (who it is among its siblings). */
export function h(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

/** An SVG element. */
export function s(tag, props, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

function build(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null) continue;
    if (name === "on") listen(element, value);
    else if (name === "key") element.key = value;
    else if (PROPERTIES.has(name)) give(element, name, value);
    else if (value !== false) element.setAttribute(safe(name, value), value === true ? "" : String(value));
  }
  element.append(...flat(children));
  return element;
}

/** Attributes that could run something are refused: a mistake in the console, not of whoever chose the value. */
function safe(name, value) {
  if (/^on|^style$|^srcdoc$/i.test(name)) throw new Error(`attribute ${name} is not for data`);
  if (/^(href|src|action|formaction)$/i.test(name) && !/^(#|\/(?!\/))/.test(String(value))) {
    throw new Error(`${name} leads out of the console`);
  }
  return name;
}

function listen(element, handlers) {
  element.handlers = handlers;
  for (const type of Object.keys(handlers)) element.addEventListener(type, dispatch);
}

// One listener for all: after a patch an element has the newest handlers.
function dispatch(event) {
  return event.currentTarget.handlers?.[event.type]?.(event);
}

function give(element, name, value) {
  element.given = { ...element.given, [name]: value };
  element[name] = value;
}

/** Children as nodes: lists are flattened, nothing and false left out, everything else becomes text. */
export function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/** Makes the children of a place look like fresh ones, keeping what is the same: focus, scrolling and input stay. */
export function patch(place, ...fresh) {
  patchChildren(place, flat(fresh));
}

function patchChildren(place, fresh) {
  const keyed = new Map();
  for (const node of place.childNodes) if (node.key !== undefined) keyed.set(node.key, node);
  let next = place.firstChild;
  for (const node of fresh) {
    const found = node.key === undefined ? next : keyed.get(node.key);
    if (found && isSame(found, node)) {
      if (found === next) next = next.nextSibling;
      else place.insertBefore(found, next);
      patchNode(found, node);
    } else {
      place.insertBefore(node, next);
    }
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

function isSame(old, fresh) {
  return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && old.key === fresh.key;
}

function patchNode(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.localName === "details")) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const type of Object.keys(fresh.handlers ?? {})) {
    if (!old.handlers?.[type]) old.addEventListener(type, dispatch);
  }
  old.handlers = fresh.handlers;
  // Children first: a choice needs its options before its value.
  patchChildren(old, [...fresh.childNodes]);
  // What a person typed stays until the data says something else.
  for (const [name, value] of Object.entries(fresh.given ?? {})) {
    if (old.given?.[name] !== value) old[name] = value;
  }
  old.given = fresh.given;
}
