// What the page knows: read from the lists, kept in place row by row, so that who shows a row sees what changed in it.

import { throttled } from "./dom.js";

/** How many looks at a node are remembered for its line. */
const SAMPLES = 60;

/** From so many rows on everything is done less often. */
export const MANY = 2000;

/** How long an answer is waited for, in milliseconds. */
const PATIENCE = 10000;

export const state = {
  /** By id; each row has `rev`, which grows with each change, and `info` from the registry. */
  nodes: new Map(),
  /** By `key_of`. */
  migrations: new Map(),
  unreadable: [],
  instances: [],
  /** `/readyz?verbose`. */
  ready: null,
  /** The server's clock minus ours, in milliseconds. */
  skew: 0,
  loaded: false,
};

export const key_of = (id, uuid) => `${id}/${uuid}`;

const watchers = new Set();
const tell = () => watchers.forEach((it) => it());
const soon = throttled(tell, 200);
const later = throttled(tell, 1000);
const changed = () => (state.nodes.size + state.migrations.size > MANY ? later() : soon());

/** Calls this whenever something changed, a few times a second at most, of many rows once; gives what ends it. */
export function watch(run) {
  watchers.add(run);
  return () => watchers.delete(run);
}

/** Who is told of each change of a state: (subject, row, from, to, reason, at). */
let on_change = () => {};
export const tell_changes = (run) => { on_change = run; };

/** What a request came to otherwise than well. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `HTTP ${status}`);
    this.status = status;
    this.code = problem?.code ?? null;
  }
}

/** One request; JSON comes back, with its status. The server's time is taken from each answer. */
export async function ask(path, { headers = {}, also = [] } = {}) {
  const signal = AbortSignal.timeout(PATIENCE);
  const response = await fetch(path, { headers, signal, cache: "no-store", credentials: "same-origin" });
  const date = Date.parse(response.headers.get("date") ?? "");
  if (!Number.isNaN(date)) {
    // Whole seconds: half of one is added on the average, and small differences are the rounding.
    const skew = date + 500 - Date.now();
    if (Math.abs(skew - state.skew) > 1500) state.skew = skew;
  }
  if (response.status === 304) return { status: 304, body: null, mark: null };
  const body = await response.json().catch(() => null);
  if (!response.ok && !also.includes(response.status)) throw new Refused(response.status, body);
  return { status: response.status, body, mark: response.headers.get("etag") };
}

const marks = new Map();

/** The same for a list: null if it is the one that was read last. */
async function read(path) {
  const mark = marks.get(path);
  const answer = await ask(path, mark ? { headers: { "If-None-Match": mark } } : {});
  if (answer.mark) marks.set(path, answer.mark);
  return answer.body;
}

/** Reads everything anew, as for another user. */
export const forget = () => marks.clear();

/** Reads the lists; fails if one of them cannot be read. */
export async function refresh() {
  const [nodes, migrations, instances, ready] = await Promise.all([
    read("nodes/status"), read("migrations"), read("instances"), ask("readyz?verbose=true", { also: [503] }),
  ]);
  let other = false;
  if (nodes) other = take_nodes(nodes);
  if (migrations) take_migrations(migrations);
  if (instances) state.instances = instances.instances;
  state.ready = ready.body;
  if (other || !state.loaded) await registry();
  state.loaded = true;
  changed();
}

/** What a migration has at times only. */
const AT_TIMES = ["exit", "turns_at", "stalled_since", "live"];

/** Puts what is new into a row, and takes away what it has no more of what it may lack. */
function merge(row, fresh, may_lack = []) {
  let differs = false;
  for (const key of Object.keys(fresh)) {
    const value = fresh[key];
    const same = row[key] === value
      || (typeof value === "object" && value !== null && JSON.stringify(row[key]) === JSON.stringify(value));
    if (!same) {
      row[key] = value;
      differs = true;
    }
  }
  for (const key of may_lack) {
    if (key in row && !(key in fresh)) {
      delete row[key];
      differs = true;
    }
  }
  if (differs) row.rev += 1;
}

/** Does the registry have to be read again? */
function take_nodes(list) {
  const seen = new Set();
  let other = false;
  for (const fresh of list.nodes) {
    seen.add(fresh.id);
    let row = state.nodes.get(fresh.id);
    const looked = row?.last_check !== fresh.last_check;
    const before = row?.state;
    if (row) {
      merge(row, fresh);
      other ||= before === "disabled";
      if (before !== fresh.state) on_change("node", row, before, fresh.state, fresh.reason, fresh.since);
    } else {
      row = { rev: 1, samples: [], info: null, ...fresh };
      state.nodes.set(fresh.id, row);
      other = true;
    }
    if (looked && fresh.last_check) {
      row.samples.push(fresh.latency_ms);
      if (row.samples.length > SAMPLES) row.samples.shift();
    }
  }
  for (const [id, row] of state.nodes) {
    if (!seen.has(id) && row.state !== "disabled") {
      state.nodes.delete(id);
      other = true;
    }
  }
  return other;
}

function take_migrations(list) {
  state.unreadable = list.unreadable ?? [];
  const seen = new Set();
  for (const fresh of list.data) {
    const key = key_of(fresh.brz_project_id, fresh.mb_project_uuid);
    seen.add(key);
    const row = state.migrations.get(key);
    if (!row) {
      const made = { rev: 1, ...fresh };
      state.migrations.set(key, made);
      if (state.loaded) on_change("migration", made, null, phase(made), made.reason, made.since);
      continue;
    }
    const before = phase(row);
    merge(row, fresh, AT_TIMES);
    const after = phase(row);
    const at = after === "error" ? row.changes_json.status_updated_at : row.since;
    if (before !== after) on_change("migration", row, before, after, row.reason, at);
  }
  for (const key of state.migrations.keys()) if (!seen.has(key)) state.migrations.delete(key);
}

let registry_read = -Infinity;

/** What the list of states lacks: host, port, owner, title, and the nodes that are disabled. */
async function registry() {
  registry_read = performance.now();
  const list = await read("nodes");
  if (!list) return;
  const known = new Set();
  for (const node of list.data) {
    known.add(node.id);
    const info = { title: node.title, host: node.host, port: node.port, owner: node.owner, available: node.available };
    const row = state.nodes.get(node.id);
    if (row) merge(row, { info, ...(node.available ? {} : { state: "disabled" }) });
    else if (!node.available) {
      const { id, name, message, reason, since } = node;
      state.nodes.set(id, { rev: 1, samples: [], info, id, name, message, reason, since, state: "disabled", latency_ms: null });
    }
  }
  for (const id of state.nodes.keys()) if (!known.has(id)) state.nodes.delete(id);
}

/** The registry changes rarely and tells of no change: it is read again each five minutes. */
export async function refresh_registry() {
  if (performance.now() - registry_read < 300000) return;
  await registry();
  changed();
}

/** One event of the stream: into its row, as far as it is there; the lists tell the rest. */
export function take_event(subject, event) {
  const row = subject === "node" ? state.nodes.get(event.id) : state.migrations.get(key_of(event.id, event.mb_project_uuid));
  if (!row || (row.state === event.state && row.reason === event.reason)) return;
  // A stream that resumes tells what was meanwhile: the list may know more.
  if (Date.parse(event.at) < Date.parse(row.since)) return;
  // How it ended is its status, which the list tells.
  if (subject === "migration" && event.state === "finished") return;
  const before = subject === "node" ? row.state : phase(row);
  merge(row, { state: event.state, reason: event.reason, since: row.state === event.state ? row.since : event.at });
  const after = subject === "node" ? row.state : phase(row);
  if (before !== after) on_change(subject, row, before, after, event.reason, event.at);
  changed();
}

/** What a migration is for people, of its status and its state. */
export function phase(row) {
  if (row.status === "error") return "error";
  if (row.status === "success" || row.status === "completed") return "done";
  if (row.state === "waiting" || row.state === "gone") return "dying";
  if (row.state === "alive") return "running";
  if (row.state === "finished") return row.status;
  return row.state;
}
