// Numbers, sizes and times as people read them.

import { h } from "./dom.js";
import { serverNow } from "./api.js";
import { spoken, t } from "./words.js";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const SPANS = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];

/** A number with the separators of the language. */
export const number = (n) => new Intl.NumberFormat(spoken()).format(n);

/** A length in bytes, three digits and a unit. */
export function bytes(n) {
  if (n === undefined || n === null) return "–";
  let unit = 0;
  while (n >= 1024 && unit < UNITS.length - 1) {
    n /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || n >= 100 ? 0 : n >= 10 ? 1 : 2;
  return `${new Intl.NumberFormat(spoken(), { maximumFractionDigits: digits }).format(n)} ${UNITS[unit]}`;
}

/** Bytes per second. */
export const rate = (n) => `${bytes(n)}/s`;

/** A time span in seconds, in its two largest units. */
export function span(seconds) {
  if (seconds === undefined || seconds === null) return "–";
  if (seconds > 0 && seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  let rest = Math.round(seconds);
  const parts = [];
  for (const [unit, length] of SPANS) {
    const n = Math.floor(rest / length);
    if (n > 0 || (unit === "s" && parts.length === 0)) parts.push(`${n} ${t(`unit.${unit}`)}`);
    rest -= n * length;
    if (parts.length === 2 || (parts.length === 1 && rest === 0)) break;
  }
  return parts.join(" ");
}

/** How long ago a time was, or how soon it will be. */
export function relative(time) {
  const seconds = (serverNow() - Date.parse(time)) / 1000;
  const far = Math.abs(seconds) >= 3600 ? largest(Math.abs(seconds)) : span(Math.abs(seconds));
  if (Math.abs(seconds) < 1) return t("time.now");
  return seconds > 0 ? t("time.ago", { span: far }) : t("time.in", { span: far });
}

function largest(seconds) {
  const [unit, length] = SPANS.find(([, length]) => seconds >= length);
  return `${Math.floor(seconds / length)} ${t(`unit.${unit}`)}`;
}

/** A time to the second, in the reader's zone, with the zone. */
export function absolute(time) {
  const style = { dateStyle: "medium", timeStyle: "long" };
  return new Intl.DateTimeFormat(spoken() === "en" ? "en-GB" : "zh-CN", style).format(new Date(time));
}

/** A day and minute, short. */
export function short(time) {
  const style = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };
  return new Intl.DateTimeFormat("sv-SE", style).format(new Date(time));
}

/** A time, relative, with the absolute one on asking. */
export function when(time) {
  if (!time) return "–";
  return h("time", { datetime: time, title: absolute(time) }, relative(time));
}

/** A time, absolute, with the relative one on asking. */
export function date(time) {
  if (!time) return "–";
  return h("time", { datetime: time, title: `${absolute(time)} (${relative(time)})`, class: "number" }, short(time));
}

/** Permission bits as `ls` writes them. */
export function mode(bits) {
  return [...bits.toString(8).padStart(4, "0").slice(-3)]
    .map((digit) => "rwx".split("").map((letter, at) => ((Number(digit) >> (2 - at)) & 1 ? letter : "-")).join(""))
    .join("");
}
