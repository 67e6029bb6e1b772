// The first page: is the monitor alive, what runs, what is dying or dead, and what changed.

import { changes } from "./changes.js";
import { phase, state, watch } from "./data.js";
import { bdi, fill, h, plain } from "./dom.js";
import { PHASES, migration_link, since, when, why } from "./migrations.js";
import { STATES, node_link } from "./nodes.js";
import { badge, look, now, progress, section, time, time_of } from "./shapes.js";
import { counted, language, number, t, tally, word } from "./words.js";

/** How many rows of each list stand here. */
const ROWS = 8;

/** A place that is made anew only when what it shows is another. */
function block(element, sign, make) {
  let shown = null;
  return () => {
    const sign_now = JSON.stringify(sign());
    if (sign_now === shown) return;
    shown = sign_now;
    fill(element, make());
  };
}

export function open(main) {
  const tiles = h("div", { class: "tiles" });
  const jobs = h("div");
  const down = h("div");
  const news = h("div");
  const fleet = h("div");
  let all_news = false;
  fill(main, h("h1", { class: "unseen", tabindex: -1 }, t("overview")), tiles,
    h("div", { class: "halves first" },
      h("div", null, section(t("jobs.now"), jobs), section(t("changes"), news)),
      h("div", null, section(t("nodes.down"), down), section(t("instances"), fleet))));

  const blocks = [
    block(tiles, () => [state.ready, fleet_sign(), count(state.nodes, (row) => row.state), count(state.migrations, phase), state.loaded],
      () => [monitor_tile(), nodes_tile(), jobs_tile()]),
    block(jobs, () => [urgent_jobs().slice(0, ROWS).map((row) => [row.brz_project_id, row.mb_project_uuid, row.rev]), count(state.migrations, phase), state.unreadable, state.loaded], jobs_list),
    block(down, () => [bad_nodes().slice(0, ROWS).map((row) => [row.id, row.rev]), count(state.nodes, (row) => row.state)], nodes_list),
    block(news, () => [all_news, changes().map((it) => [it.at, it.to, it.reason, it.row.id])], () => news_list(all_news, () => {
      all_news = true;
      update();
    })),
    block(fleet, () => state.instances, fleet_table),
  ];
  function update() {
    for (const it of blocks) it();
  }
  update();
  return { close: watch(update) };
}

const fleet_sign = () => state.instances.map((it) => [it.name, it.state, it.tick_ms, it.last_beat]);

function count(rows, of) {
  const counts = {};
  for (const row of rows.values()) counts[of(row)] = (counts[of(row)] ?? 0) + 1;
  return counts;
}

function tile(kind, title, big, ...rest) {
  return h("div", { class: `tile ${kind}` }, h("h2", null, title), h("p", { class: "big" }, big), ...rest);
}

function monitor_tile() {
  const ready = state.ready;
  const status = ready?.status ?? "unknown";
  const live = state.instances.filter((it) => it.state === "live");
  const beat = Math.max(...state.instances.map((it) => time_of(it.last_beat)), -Infinity);
  const late = ready?.components;
  const lag = late && Math.max(late.nodes_lag_ms, late.migrations_lag_ms);
  const pass = Math.max(...live.map((it) => it.tick_ms), 0);
  const parts = Object.entries(ready?.components ?? {}).filter(([name, value]) => t(`component.${name}`) !== `component.${name}`
    && !["ok", "off"].includes(value));
  const troubles = [ready?.components?.migrations_trouble, ready?.components?.events_trouble].filter(Boolean);
  return tile(look(status), t("monitor"), badge(status, t(`monitor.${status}`)),
    h("p", null, t("monitor.live", number(live.length), language() === "en" ? counted(state.instances.length, "instance") : number(state.instances.length)),
      Number.isFinite(beat) && [" · ", ...around("monitor.beat", time(beat, "ago"))],
      live.length > 0 && [" · ", t("monitor.pass", t("ms", number(pass)))],
      lag !== undefined && [" · ", t("monitor.lag", t("ms", number(lag)))]),
    parts.length > 0 && h("p", { class: "warn-text" }, parts.map(([name, value]) => `${t(`component.${name}`)}: ${t(`condition.${value}`)}`).join(" · ")),
    troubles.map((it) => h("p", { class: "small dim", lang: "en" }, bdi(it))));
}

/** A text with an element in the place of its {}. */
function around(key, element) {
  const [before, after] = t(key).split("{}");
  return [before, element, after];
}

function nodes_tile() {
  const counts = count(state.nodes, (row) => row.state);
  const total = state.nodes.size - (counts.disabled ?? 0);
  if (!total && state.loaded) return tile("dim", t("nodes"), t("nodes.none"), h("p", null, h("code", null, t("nodes.none.how"))));
  const worst = counts.down ? "bad" : counts.unknown || counts.stale ? "warn" : "good";
  return tile(worst, t("nodes"), h("a", { href: "#/nodes" }, t("nodes.up", number(counts.up ?? 0), number(total))),
    strip(STATES.filter((it) => it !== "disabled"), counts, total), links("nodes", STATES, counts));
}

function jobs_tile() {
  const counts = count(state.migrations, phase);
  const off = state.ready?.components?.migrations === "off";
  if (!state.migrations.size && state.loaded) return tile("dim", t("jobs"), t(off ? "jobs.off" : "jobs.none"));
  const worst = counts.error ? "bad" : counts.dying || counts.stalled ? "warn" : "good";
  return tile(worst, t("jobs"), h("a", { href: "#/migrations" }, t("jobs.running", number(counts.running ?? 0))),
    strip(PHASES, counts, state.migrations.size), links("migrations", PHASES, counts));
}

/** The shares of states as one bar; the numbers stand below it. */
function strip(names, counts, total) {
  const bar = h("div", { class: "strip", "aria-hidden": "true" });
  for (const name of names.filter((it) => counts[it])) {
    const part = h("span", { class: look(name) });
    part.style.flexGrow = counts[name];
    bar.append(part);
  }
  return total ? bar : null;
}

function links(where, names, counts) {
  const shown = names.filter((it) => counts[it]);
  return h("p", { class: "counts" }, shown.map((it) => h("a", { href: `#/${where}?state=${it}`, class: look(it) }, tally(counts[it], it))));
}

const ORDER = ["dying", "stalled", "error", "unknown", "running"];

/** The jobs that are worth a look, the most urgent first; errors of the last day only. */
function urgent_jobs() {
  const day = now() - 86400000;
  const list = [...state.migrations.values()].filter((row) => {
    const its = phase(row);
    return ORDER.includes(its) && (its !== "error" || time_of(since(row)) > day);
  });
  const rank = (row) => ORDER.indexOf(phase(row));
  const at = (row) => (row.turns_at ? time_of(row.turns_at) : -time_of(since(row)));
  return list.sort((a, b) => rank(a) - rank(b) || at(a) - at(b));
}

function jobs_list() {
  const list = urgent_jobs();
  const bad = state.unreadable.slice(0, ROWS);
  return [
    list.length === 0 && h("p", { class: "none" }, t(state.migrations.size ? "jobs.calm" : "jobs.none")),
    h("ul", { class: "rows" }, list.slice(0, ROWS).map((row) => {
      const its = phase(row);
      const stage = row.current_stage === null ? null : plain(row.current_stage, 120);
      return h("li", { class: look(its) },
        h("div", { class: "line" }, badge(its), migration_link(row), stage && h("span", { class: "clip grow" }, bdi(stage)), h("span", { class: "end" }, when(row))),
        h("div", { class: "line small" },
          row.pid !== null && h("span", { class: "dim mono" }, `PID ${row.pid}`),
          its !== "error" && progress(row),
          h("span", { class: "grow why" }, why(row)),
          h("span", { class: "dim end" }, bdi(row.instance, null, 60))));
    })),
    list.length > ROWS && h("p", { class: "more" }, h("a", { href: "#/migrations" }, t("more", number(list.length)))),
    bad.length > 0 && h("div", { class: "unreadable" }, h("h3", null, `${t("unreadable")}: ${number(state.unreadable.length)}`),
      h("ul", null, bad.map((it) => h("li", { class: "small" }, bdi(it.file, { class: "mono" }, 120), " · ", word(it.reason))))),
  ];
}

function bad_nodes() {
  const list = [...state.nodes.values()].filter((row) => row.state === "down" || row.state === "unknown" || row.state === "stale");
  return list.sort((a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) || time_of(b.since) - time_of(a.since) || a.id - b.id);
}

function nodes_list() {
  const list = bad_nodes();
  if (!list.length) return [h("p", { class: "none" }, t(state.nodes.size ? "nodes.allup" : "nodes.none"))];
  return [
    h("ul", { class: "rows" }, list.slice(0, ROWS).map((row) => h("li", { class: look(row.state) },
      h("div", { class: "line" }, badge(row.state), node_link(row), h("span", { class: "grow" }), h("span", { class: "end" }, time(row.since))),
      h("div", { class: "line small" }, h("span", { class: "grow" }, word(row.reason) ?? bdi(row.message)),
        row.info && h("span", { class: "dim mono end" }, bdi(`${row.info.host}:${row.info.port}`, null, 60)))))),
    list.length > ROWS && h("p", { class: "more" }, h("a", { href: "#/nodes" }, t("more", number(list.length)))),
  ];
}

function news_list(all, more) {
  const list = changes();
  if (!list.length) return [h("p", { class: "none" }, t("changes.none"))];
  return [
    h("ul", { class: "rows news" }, list.slice(0, all ? list.length : ROWS).map(({ at, subject, row, from, to, reason }) => h("li", { class: look(to) },
      h("div", { class: "line" }, h("span", { class: "mono dim" }, time(at, "clock")), subject === "node" ? node_link(row) : migration_link(row),
        h("span", { class: "grow" }, from && [h("span", { class: "dim" }, word(from)), " → "], badge(to), reason && h("span", { class: "small dim" }, ` ${word(reason)}`)),
        h("span", { class: "end dim small" }, time(at, "ago")))))),
    !all && list.length > ROWS && h("p", { class: "more" }, h("button", { type: "button", onclick: more }, t("more", number(list.length)))),
  ];
}

function fleet_table() {
  if (!state.instances.length) return h("p", { class: "none" }, t("loading"));
  const head = ["state", "name", "beat", "pass", "version"].map((it) => h("th", { scope: "col", role: "columnheader" }, t(`col.${it}`)));
  head.push(h("th", { scope: "col", role: "columnheader" }, t("nodes")), h("th", { scope: "col", role: "columnheader" }, t("col.locks")));
  const cell = (label, ...content) => h("td", { role: "cell", "data-label": label }, ...content);
  return h("table", { role: "table" }, h("caption", { class: "unseen" }, t("instances")), h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, state.instances.map((it) => h("tr", { role: "row", class: look(it.state) },
      cell(t("col.state"), badge(it.state)),
      cell(t("col.name"), bdi(it.name, null, 80)),
      cell(t("col.beat"), time(it.last_beat, "ago")),
      cell(t("col.pass"), t("ms", number(it.tick_ms))),
      cell(t("col.version"), bdi(it.version, null, 20)),
      cell(t("nodes"), number(it.nodes)),
      cell(t("col.locks"), number(it.locks))))));
}
