// The table of migrations.

import { key_of, phase, state } from "./data.js";
import { bdi, h, plain } from "./dom.js";
import { badge, exit_text, progress, time, time_of } from "./shapes.js";
import { listing } from "./table.js";
import { word } from "./words.js";

/** What a migration may be for people, the most urgent first. */
export const PHASES = ["dying", "stalled", "error", "running", "unknown", "foreign", "pending", "done"];

export const migration_link = (row) => h("a", { class: "mono", href: `#/migration/${row.brz_project_id}/${encodeURIComponent(row.mb_project_uuid)}` }, String(row.brz_project_id));

/** When its state began: its status where that is final, its last progress where it stands still. */
export function since(row) {
  const its = phase(row);
  if (its === "stalled") return row.stalled_since ?? row.since;
  return ((its === "error" || its === "done") && row.changes_json.status_updated_at) || row.since;
}

/** Until when it may still be saved, or since when it is so. */
export const when = (row, kind) => (row.turns_at && phase(row) === "dying" ? time(row.turns_at, "left") : time(since(row), kind));

/** Why it is so, in a few words. */
export function why(row) {
  const its = phase(row);
  const end = its === "done" ? null : exit_text(row.exit);
  if (its === "error" && row.changes_json.error) return h("span", { lang: "en", dir: "auto" }, plain(row.changes_json.error, 200));
  return row.reason || end ? h("span", { title: row.reason }, end ?? word(row.reason)) : null;
}

const stage = (row) => (row.current_stage === null || row.current_stage === undefined ? "" : plain(row.current_stage, 160));

const COLUMNS = [
  { name: "state", of: phase, make: (row) => badge(phase(row)), order: (row) => PHASES.indexOf(phase(row)) },
  {
    name: "migration",
    of: (row) => row.mb_project_uuid,
    make: (row) => [migration_link(row), h("div", { class: "small dim mono clip" }, bdi(row.mb_project_uuid, null, 64))],
    order: (row) => row.brz_project_id,
  },
  {
    name: "stage",
    of: (row) => `${stage(row)}\n${row.reason}\n${row.status}\n${row.changes_json.error}\n${JSON.stringify(row.exit)}`,
    make: (row) => [h("div", { class: "clip" }, bdi(stage(row) || "—")), h("div", { class: "small why" }, why(row))],
    order: stage,
  },
  {
    name: "progress",
    of: (row) => JSON.stringify([row.total_pages, row.processed_pages, row.progress_percent]),
    make: progress,
    order: (row) => (typeof row.progress_percent === "number" ? row.progress_percent : null),
  },
  { name: "since", of: (row) => `${phase(row)}\n${row.turns_at}\n${since(row)}`, make: (row) => when(row, "span"), order: (row) => -time_of(since(row)) || null },
  { name: "pid", of: (row) => row.pid, make: (row) => h("span", { class: "mono" }, row.pid === null ? "—" : String(row.pid)), order: (row) => row.pid },
  { name: "run", of: (row) => row.run, make: (row) => h("span", { class: "number" }, String(row.run)), order: (row) => row.run },
  { name: "instance", of: (row) => row.instance, make: (row) => bdi(row.instance, null, 60), order: (row) => row.instance },
];

const text = (row) => [row.brz_project_id, row.mb_project_uuid, stage(row), row.pid, row.instance, row.reason, word(row.reason), word(phase(row)),
  row.changes_json.error].filter(Boolean).join("\n");

export function open(main, _, query) {
  return listing(main, query, {
    what: "migrations",
    rows: () => state.migrations.values(),
    key: (row) => key_of(row.brz_project_id, row.mb_project_uuid),
    group: phase,
    groups: PHASES,
    // Of equals the newest first.
    then: (row) => -time_of(since(row)),
    text,
    columns: COLUMNS,
  });
}
