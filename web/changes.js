// What changed in the last hour: by the lists' own `since` when the page is opened, by what it sees from then on. And what
// of it is said to those who listen instead of looking.

import { phase, state, tell_changes } from "./data.js";
import { plain, say } from "./dom.js";
import { now, time_of } from "./shapes.js";
import { t, word } from "./words.js";

const HOUR = 3600000;
const MOST = 500;

/** Newest first: {at, subject, key, row, from, to, reason}. */
let seen = [];
let spoken = [];
let timer = 0;

export function begin() {
  tell_changes((subject, row, from, to, reason, at) => {
    // A first verdict is no news; a new migration is.
    if (subject === "node" && (!from || from === "disabled")) return;
    seen.unshift({ at: time_of(at) || now(), subject, row, from, to, reason });
    seen.length = Math.min(seen.length, MOST);
    spoken.push({ subject, row, to, reason });
    timer ||= setTimeout(announce, 1000);
  });
}

/** What changed within the hour, newest first. */
export function changes() {
  const since = now() - HOUR;
  const told = new Set(seen.map((it) => it.row));
  const before = [];
  for (const row of state.nodes.values()) {
    const at = time_of(row.since);
    if (at >= since && !told.has(row) && row.state !== "disabled") before.push({ at, subject: "node", row, from: null, to: row.state, reason: row.reason });
  }
  for (const row of state.migrations.values()) {
    const at = Math.max(time_of(row.since), time_of(row.changes_json?.status_updated_at) || 0);
    if (at >= since && !told.has(row)) before.push({ at, subject: "migration", row, from: null, to: phase(row), reason: row.reason });
  }
  return [...seen.filter((it) => it.at >= since), ...before].sort((a, b) => b.at - a.at).slice(0, MOST);
}

function announce() {
  timer = 0;
  const all = spoken;
  spoken = [];
  const place = document.getElementById("said");
  if (all.length > 4) {
    say(place, t("change.many", all.length));
    return;
  }
  say(place, all.map(({ subject, row, to, reason }) => {
    const name = subject === "node" ? plain(row.name, 60) : row.brz_project_id;
    return `${t(`change.${subject}`)} ${name}: ${[word(to), word(reason)].filter(Boolean).join(", ")}`;
  }).join(". "));
}
