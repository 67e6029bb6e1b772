// Small pictures of values: states, times, latency, progress. What they say stands in them as text too.

import { bdi, h, plain, say, svg } from "./dom.js";
import { clock, lasting, moment, number, percent, t, word } from "./words.js";
import { state } from "./data.js";

// Which look a word has; the shape differs as well, so that nothing hangs on colour alone.
const LOOKS = {
  up: "good", alive: "good", running: "good", live: "good", done: "good", success: "good", completed: "good", ready: "good", ok: "good",
  down: "bad", error: "bad", lost: "bad", not_ready: "bad",
  waiting: "warn", gone: "warn", dying: "warn", stalled: "warn", stale: "warn", degraded: "warn", draining: "warn", polling: "warn",
};

export const look = (name) => LOOKS[name] ?? "dim";

/** A state as a shape and a word. */
export function badge(name, text) {
  return h("span", { class: `badge ${look(name)}` }, text ?? word(name) ?? "");
}

/** Now, by the server's clock, in milliseconds. */
export const now = () => Date.now() + state.skew;

export const time_of = (text) => (text ? Date.parse(text) : NaN);

/** A time as how long ago it is; it goes on by itself. `kind`: `for` (for 3 min), `span` (3 min), `ago` (3 min ago), `left`
 *  (until then), `clock` (the time itself). */
export function time(text, kind = "for") {
  const ms = typeof text === "number" ? text : time_of(text);
  if (Number.isNaN(ms)) return h("span", { class: "dim" }, "—");
  const element = h("time", { datetime: new Date(ms).toISOString(), title: moment(ms), "data-at": ms, "data-kind": kind });
  say_time(element);
  return element;
}

function say_time(element) {
  const at = Number(element.dataset.at);
  const passed = (now() - at) / 1000;
  const kind = element.dataset.kind;
  if (kind === "left") say(element, passed >= 0 ? t("job.turns.now") : t("job.turns", lasting(Math.ceil(-passed))));
  else if (kind === "clock") say(element, passed < 86400 ? clock(at) : moment(at));
  else if (kind === "ago") say(element, passed < 1 ? t("just") : t("ago", lasting(passed)));
  else if (kind === "span") say(element, lasting(passed));
  else say(element, t("for", lasting(passed)));
}

/** Lets all times on the page go on; called each second. */
export function tick(root) {
  for (const element of root.querySelectorAll("time[data-at]")) say_time(element);
}

/** A moment as it is. */
export function at(text) {
  const ms = typeof text === "number" ? text : time_of(text);
  if (Number.isNaN(ms)) return h("span", { class: "dim" }, "—");
  return h("time", { datetime: new Date(ms).toISOString() }, moment(ms));
}

/** Looks at one node as a line; gaps where no answer came. */
export function sparkline(samples, width = 72, height = 18) {
  const known = samples.filter((it) => it !== null);
  const low = Math.min(...known);
  const high = Math.max(...known);
  const label = known.length ? t("sparkline", samples.length, number(low), number(high)) : t("uptime.none");
  const picture = svg("svg", { class: "spark", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  if (!known.length) return picture;
  // From zero, so that a millisecond of noise is no mountain; at least 10 ms high for the same reason.
  const top = Math.max(high, 10);
  const step = width / Math.max(samples.length - 1, 20);
  const left = width - step * (samples.length - 1);
  let path = "";
  let open = false;
  samples.forEach((value, i) => {
    const x = (left + i * step).toFixed(1);
    if (value === null) {
      picture.append(svg("line", { class: "missed", x1: x, x2: x, y1: 1, y2: height - 1 }));
      open = false;
      return;
    }
    const y = (height - 2 - (value / top) * (height - 4)).toFixed(1);
    path += `${open ? "L" : "M"}${x} ${y}`;
    open = true;
  });
  picture.append(svg("path", { d: path }));
  if (samples.at(-1) !== null) {
    const y = (height - 2 - (samples.at(-1) / top) * (height - 4)).toFixed(1);
    picture.append(svg("circle", { cx: width - 2, cy: y, r: 2 }));
  }
  return picture;
}

export const latency = (ms) => (ms === null || ms === undefined ? "—" : t("ms", ms === 0 ? "<1" : number(ms)));

/** A number of a lock, which may have anything there. */
function amount(value) {
  const n = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  return typeof n === "number" && Number.isFinite(n) && n >= 0 ? n : null;
}

/** How far a job is: a bar and what it says; an empty text where the lock says nothing. */
export function progress(row) {
  const total = amount(row.total_pages);
  const done = amount(row.processed_pages);
  const said = amount(row.progress_percent);
  const share = said ?? (total && done !== null ? (done / total) * 100 : null);
  if (share === null && total === null) return h("span", { class: "dim" }, "—");
  const value = Math.min(100, share ?? 0);
  const pages = total !== null && done !== null ? t("page.of", number(done), number(total)) : null;
  const text = [share === null ? null : t("percent.of", number(value)), pages].filter(Boolean).join(" · ");
  // In a box of its own: `progress` is painted by each browser in its way.
  const bar = h("span", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(value),
    "aria-label": t("col.progress"), "aria-valuetext": text }, h("span", { class: "bar-done" }));
  bar.firstChild.style.inlineSize = `${value}%`;
  return h("span", { class: "progress" }, bar, h("span", { class: "dim small" }, text));
}

/** How a process ended. */
export function exit_text(exit) {
  if (!exit) return null;
  if (exit.signal !== undefined) return t("exit.signal", plain(exit.signal, 40));
  return t("exit.code", exit.code);
}

/** Uptime of one period. */
export function uptime(period) {
  return period && typeof period.ratio === "number" ? percent(period.ratio) : "—";
}

/** Pairs of a name and a value; without those that have no value. */
export function facts(pairs) {
  const list = h("dl", { class: "facts" });
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "") continue;
    list.append(h("div", null, h("dt", null, name), h("dd", null, typeof value === "string" ? bdi(value) : value)));
  }
  return list;
}

/** What came from the server, whole, as text. */
export function raw(value) {
  const text = JSON.stringify(value, null, 2) ?? "";
  return h("pre", { class: "raw", tabindex: 0, dir: "ltr" }, plain_lines(text));
}

const plain_lines = (text) => text.split("\n").map((line) => plain(line, 5000)).join("\n");

/** A heading with a place for what belongs beside it. */
export function section(title, ...children) {
  const id = `s${section.count += 1}`;
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), ...children);
}
section.count = 0;

