// What the console says, in the language of whoever reads it.

const LANGUAGES = { en: "English", zh: "中文" };
const CHOICE = "tidegate.language";
let words = {};
let language = "en";

/** The languages, as they call themselves. */
export const languages = () => Object.entries(LANGUAGES);

/** The one that is spoken. */
export const spoken = () => language;

/** Loads the language that was chosen, or the first of the browser's that there is. */
export async function learn() {
  const wanted = [stored(), ...navigator.languages.map((name) => name.slice(0, 2).toLowerCase()), "en"];
  await speak(wanted.find((name) => LANGUAGES[name]));
}

/** Speaks a language from now on. */
export async function speak(name) {
  const answer = await fetch(`lang/${name}.json`);
  if (!answer.ok) throw new Error(`the dictionary ${name} is not to be had`);
  words = await answer.json();
  language = name;
  document.documentElement.lang = name === "zh" ? "zh-Hans" : name;
}

/** Chooses a language for the visits to come. */
export function choose(name) {
  try { localStorage.setItem(CHOICE, name); } catch { /* Then for this visit. */ }
  return speak(name);
}

function stored() {
  try { return localStorage.getItem(CHOICE); } catch { return null; }
}

/** The text of a key, with values in its places. A key that is missing shows itself: a test finds it before. */
export function t(key, places) {
  const text = words[key] ?? key;
  return places ? text.replace(/\{(\w+)\}/g, (whole, name) => String(places[name] ?? whole)) : text;
}

/** Whether a text is known: for words that the gateway may have and the console may not. */
export const knows = (key) => key in words;

/** So many of something: `count.files`, in the form that the number needs. */
export function count(what, n) {
  const form = new Intl.PluralRules(language).select(n) === "one" ? "one" : "other";
  return t(`count.${what}.${form}`, { n: new Intl.NumberFormat(language).format(n) });
}
