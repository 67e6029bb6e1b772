// One migration: what the monitor thinks of it and why, its process and how that died, its history.

import { Refused, ask, key_of, phase, state, watch } from "./data.js";
import { bdi, fill, h, plain } from "./dom.js";
import { history } from "./history.js";
import { since, when } from "./migrations.js";
import { at, badge, exit_text, facts, progress, raw, section, time } from "./shapes.js";
import { lasting, number, t, word, word_up } from "./words.js";

/** How often the process is looked at while this page is open, in milliseconds. */
const EVERY = 5000;

export function open(main, [id, uuid]) {
  const tail = uuid ? `?mb_project_uuid=${encodeURIComponent(uuid)}` : "";
  const path = `migrations/${encodeURIComponent(id)}`;
  const top = h("div", { class: "lead" });
  const about = h("div");
  const verdict = h("div");
  const process = h("div");
  const past = h("div");
  const seen = h("details", null, h("summary", null, t("details")));
  fill(main, h("p", { class: "crumbs" }, h("a", { href: "#/migrations" }, t("back.migrations"))),
    h("h1", { tabindex: -1 }, h("span", { class: "mono" }, plain(id, 20)), uuid && h("span", { class: "small dim mono" }, " ", bdi(uuid, null, 64))),
    top, h("div", { class: "halves" }, about, h("div", null, verdict, process)), past, seen);
  document.title = `${plain(id, 20)} · procwarden`;
  const reload = history(past, `${path}/history${tail}`);

  let loading = false;
  let shown = "";
  async function load() {
    if (loading) return;
    loading = true;
    try {
      const [status, report] = await Promise.all([
        ask(`${path}/status${tail}`),
        // Where no locks are watched there is no process to look at.
        ask(`${path}/process${tail}`).catch((error) => (error instanceof Refused && error.status !== 401 ? { body: null } : Promise.reject(error))),
      ]);
      show(status.body.data, report.body?.data ?? null);
    } catch (error) {
      if (error instanceof Refused && error.status === 404) fill(top, h("p", { class: "none" }, t("gone.migration", plain(id, 20))));
    }
    loading = false;
  }

  function show(told, report) {
    const row = state.migrations.get(key_of(told.brz_project_id, told.mb_project_uuid));
    const its = phase(told);
    const sign = JSON.stringify([told, report, row?.rev]);
    if (sign === shown) return;
    shown = sign;
    fill(top, badge(its), told.reason && h("span", null, word(told.reason)),
      h("span", { class: "dim" }, when({ ...told, changes_json: told }, "for")), row && progress(row));
    fill(about, section(t("status"), facts([
      [t("status"), h("span", null, word(told.status), told.status_source && h("span", { class: "dim" }, ` · ${t("status.source")} ${word(told.status_source)}`))],
      [t("status.error"), told.error && h("span", { class: "bad-text", lang: "en", dir: "auto" }, plain(told.error, 4096))],
      [t("col.state"), h("span", null, word(told.state), told.reason && ` · ${word(told.reason)}`)],
      [t("col.since"), at(since({ ...told, changes_json: told }))],
      [t("col.stage"), row?.current_stage === null ? null : row && bdi(row.current_stage)],
      [t("ended"), exit_text(told.exit) ?? (its === "error" || its === "dying" ? t("exit.unknown") : null)],
      [t("ended.at"), told.ended_at && at(told.ended_at)],
      [t("lock"), h("span", null, t(told.lock_file_exists ? "lock.stands" : "lock.gone"),
        typeof report?.process?.lock_file_age === "number" && ` · ${t("lock.age", lasting(report.process.lock_file_age))}`)],
      [t("stage.since"), stage_since(report)],
      [t("col.run"), number(told.run)],
      [t("col.instance"), row?.instance],
      [t("first.seen"), row && at(row.created_at)],
    ])));
    fill(verdict, report && section(t("why"), report.live === false && h("p", { class: "dim" }, t("process.unwatched")),
      h("p", { class: "lead" }, h("span", null, `${t("verdict")}: `, h("strong", null, word(report.verdict))),
        h("span", { class: "dim" }, `${t("would")}: ${report.would.map(word).join(", ") || t("would.nothing")}`)),
      h("p", { lang: "en" }, bdi(report.process?.message ?? "")), explained(report.explain ?? [])));
    fill(process, report && section(t("process"), facts(process_facts(report))));
    fill(seen, h("summary", null, t("details")), raw({ status: told, process: report }));
  }

  let rev = null;
  function update() {
    const row = [...state.migrations.values()].find((it) => it.brz_project_id === Number(id) && (!uuid || it.mb_project_uuid === uuid));
    if (row && row.rev === rev) return;
    rev = row?.rev ?? null;
    load();
    reload();
  }
  update();
  const end = watch(update);
  const timer = setInterval(() => { if (!document.hidden) load(); }, EVERY);
  return {
    close: () => {
      end();
      clearInterval(timer);
    },
  };
}

function stage_since(report) {
  const value = report?.process?.stage_updated_at;
  if (typeof value === "number") return time(value * 1000, "ago");
  return typeof value === "string" ? bdi(value) : null;
}

function explained(list) {
  if (!list.length) return null;
  const head = ["condition", "seen", "needed", "holds"].map((it) => h("th", { scope: "col", role: "columnheader" }, t(`col.${it}`)));
  const cell = (label, ...content) => h("td", { role: "cell", "data-label": t(`col.${label}`) }, ...content);
  return h("table", { role: "table", class: "explain" }, h("caption", { class: "unseen" }, t("why")), h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, list.map((it) => h("tr", { role: "row" },
      cell("condition", h("span", { title: it.predicate }, word_up(it.predicate))),
      cell("seen", bdi(it.value, { class: "mono" }, 120)),
      cell("needed", it.threshold === undefined ? "—" : bdi(it.threshold, { class: "mono" }, 120)),
      cell("holds", h("span", { class: it.holds ? "holds" : "dim" }, t(it.holds ? "yes" : "no")))))));
}

function process_facts(report) {
  const its = report.process ?? {};
  const details = report.process_details;
  return [
    [t("col.state"), t(its.running ? "process.alive" : "process.notalive")],
    [t("col.pid"), its.pid === null ? null : h("span", { class: "mono" }, String(its.pid))],
    [t("process.user"), details?.user],
    [t("process.memory"), details && `${number(details.memory_bytes / 1048576)} MiB`],
    ["CPU", details && t("percent.of", number(details.cpu_percent))],
    [t("process.started"), details ? at(details.started_at) : (its.started_at && bdi(its.started_at))],
    [t("process.command"), details?.command && bdi(details.command, { class: "mono small" }, 1000)],
  ];
}
