// The table of nodes.

import { ask, state } from "./data.js";
import { bdi, h } from "./dom.js";
import { badge, latency, sparkline, time, time_of, uptime } from "./shapes.js";
import { listing } from "./table.js";
import { word } from "./words.js";

/** The states, the most urgent first. */
export const STATES = ["down", "unknown", "stale", "up", "disabled"];

/** How long what was told of an uptime is shown, in milliseconds, and how many are asked for at once. */
const FRESH = 300000;
const AT_ONCE = 3;

/** By id; `offered` is false once the server does not know the route. */
const uptimes = new Map();
let offered = null;
let asking = 0;
let wanted = [];

export const node_link = (row) => h("a", { href: `#/node/${row.id}` }, bdi(row.name, null, 128));

const address = (row) => (row.info ? (row.info.host.includes(":") ? `[${row.info.host}]:${row.info.port}` : `${row.info.host}:${row.info.port}`) : "");

const COLUMNS = [
  { name: "state", of: (row) => row.state, make: (row) => badge(row.state), order: (row) => STATES.indexOf(row.state) },
  {
    name: "name",
    of: (row) => `${row.name}\n${row.info?.title}`,
    make: (row) => [node_link(row), row.info?.title && h("div", { class: "small dim clip" }, bdi(row.info.title))],
    order: (row) => row.name,
  },
  {
    name: "reason",
    of: (row) => `${row.reason}\n${row.message}`,
    make: (row) => (row.reason ? h("span", { title: row.reason }, word(row.reason))
      : h("span", { class: "dim", lang: "en" }, bdi(row.message, null, 160))),
    order: (row) => word(row.reason),
  },
  { name: "since", of: (row) => row.since, make: (row) => time(row.since, "span"), order: (row) => -time_of(row.since) || null },
  {
    name: "latency",
    of: (row) => `${row.last_check}\n${row.latency_ms}\n${row.samples.length}`,
    make: (row) => h("span", { class: "measure" }, h("span", { class: "number" }, latency(row.latency_ms)), sparkline(row.samples)),
    order: (row) => row.latency_ms,
  },
  {
    name: "uptime",
    of: (row) => JSON.stringify(uptimes.get(row.id)?.told ?? null),
    make: (row) => {
      const told = uptimes.get(row.id)?.told;
      return h("span", { class: "number" }, told ? `${uptime(told["24h"])} / ${uptime(told["30d"])}` : "—");
    },
  },
  { name: "host", of: address, make: (row) => bdi(address(row), { class: "mono" }, 80), order: address },
  { name: "instance", of: (row) => row.info?.owner ?? "", make: (row) => bdi(row.info?.owner ?? "—", null, 60), order: (row) => row.info?.owner ?? null },
];

const text = (row) => [row.name, row.info?.title, address(row), row.info?.owner, row.reason, word(row.reason), row.state, word(row.state), row.message]
  .filter(Boolean).join("\n");

export function open(main, _, query) {
  const view = listing(main, query, {
    what: "nodes",
    rows: () => state.nodes.values(),
    key: (row) => row.id,
    group: (row) => row.state,
    groups: STATES,
    then: (row) => row.id,
    text,
    columns: COLUMNS,
    shown: (rows, table) => {
      table.classList.toggle("has-uptime", offered === true);
      wanted = rows;
      ask_uptimes(() => view?.update());
    },
  });
  return { close: () => { wanted = []; view.close(); } };
}

/** Asks for the uptimes of the rows in the document, a few at a time, each once in a while. */
function ask_uptimes(again) {
  // The first answer says whether there are more.
  while (asking < (offered ? AT_ONCE : 1) && offered !== false) {
    const row = wanted.find((it) => !(performance.now() - uptimes.get(it.id)?.at < FRESH));
    if (!row) return;
    const before = uptimes.get(row.id);
    uptimes.set(row.id, { told: before?.told ?? null, at: performance.now() });
    asking += 1;
    ask(`nodes/${row.id}/history?limit=1`).then(({ body }) => {
      offered = true;
      uptimes.get(row.id).told = body?.uptime ?? null;
      row.rev += 1;
    }).catch((error) => {
      if (error.code === "unknown_route") offered = false;
    }).finally(() => {
      asking -= 1;
      again();
    });
  }
}
