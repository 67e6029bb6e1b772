// One node: what is known of it, its history, and a check of all three on a button.

import { Refused, ask, state, watch } from "./data.js";
import { bdi, fill, h, plain, say } from "./dom.js";
import { history } from "./history.js";
import { at, badge, facts, latency, now, raw, section, sparkline, time } from "./shapes.js";
import { t, word } from "./words.js";

export function open(main, [id]) {
  const path = `nodes/${encodeURIComponent(id)}`;
  const title = h("h1", { tabindex: -1 }, bdi(id, null, 128));
  const top = h("div", { class: "lead" });
  const about = h("div");
  const line = h("div");
  const past = h("div");
  const button = h("button", { type: "button", class: "main", onclick: check }, t("check"));
  const found = h("div", { role: "status" });
  const seen = h("details", null, h("summary", null, t("details")));
  fill(main, h("p", { class: "crumbs" }, h("a", { href: "#/nodes" }, t("back.nodes"))), title, top,
    h("div", { class: "halves" },
      h("div", null, about, line),
      section(t("check"), h("p", { class: "dim" }, t("check.what")), button, found)),
    past, seen);
  const reload = history(past, `${path}/history`);

  let rev = null;
  let loading = false;

  async function load() {
    if (loading) return;
    loading = true;
    try {
      const { body } = await ask(path);
      show(body.data);
    } catch (error) {
      if (error instanceof Refused && error.status === 404) fill(top, h("p", { class: "none" }, t("gone.node", id)));
    }
    loading = false;
  }

  function show(node) {
    fill(title, bdi(node.name, null, 128));
    document.title = `${plain(node.name, 60)} · procwarden`;
    fill(top, badge(node.state), node.reason && h("span", null, word(node.reason)), node.since && h("span", { class: "dim" }, time(node.since)),
      Date.parse(node.maintenance_until) > now() && h("span", { class: "dim" }, t("maintenance"), " ", at(Date.parse(node.maintenance_until))));
    const host = node.host.includes(":") ? `[${node.host}]` : node.host;
    fill(about, section(t("details.known"), facts([
      [t("title"), node.title],
      [t("address"), bdi(`${host}:${node.port}`, { class: "mono" })],
      [t("message"), node.message && h("span", { lang: "en" }, bdi(node.message))],
      [t("checked"), node.checked_at && h("span", null, time(node.checked_at, "ago"), node.worked_data?.method && ` · ${t("method")} ${node.worked_data.method}`)],
      [t("col.since"), node.since && at(node.since)],
      [t("kind"), node.kind === "monero-wallet-rpc" ? null : h("span", { class: "mono" }, node.kind)],
      [t("asked"), asked(node)],
      [t("program"), node.process_name && bdi(node.process_name, { class: "mono" })],
      [t("col.pid"), node.observed_pid === null ? null : h("span", { class: "mono" }, String(node.observed_pid))],
      [t("daemon"), node.daemon],
      [t("tls"), node.tls === "off" ? null : node.tls],
      [t("owner"), node.owner],
    ])));
    fill(seen, h("summary", null, t("details")), raw(node.worked_data));
  }

  async function check() {
    button.disabled = true;
    say(button, t("checking"));
    try {
      const { body } = await ask(`${path}/status?method=full`);
      const told = body.details ?? {};
      fill(found, h("p", { class: "lead" }, badge(body.status ? "up" : "down", t(body.status ? "check.good" : "check.bad")),
        word(told.reason), told.live === false && h("span", { class: "dim" }, t("check.record"))),
      h("p", { lang: "en" }, bdi(told.message ?? "")),
      h("ul", { class: "rows" }, parts(told)), h("details", null, h("summary", null, t("details")), raw(told)));
    } catch (error) {
      fill(found, h("p", { class: "bad-text" }, t("check.failed", error.message)));
    }
    button.disabled = false;
    say(button, t("check"));
  }

  function update() {
    const row = state.nodes.get(Number(id)) ?? [...state.nodes.values()].find((it) => it.name === id);
    if (row ? row.rev === rev : rev !== null) return;
    rev = row?.rev ?? -1;
    fill(line, row?.samples.length > 0 && section(t("col.latency"),
      h("p", { class: "measure" }, h("span", { class: "big number" }, latency(row.latency_ms)), sparkline(row.samples, 240, 40)),
      h("p", { class: "dim small" }, t("latency.here"))));
    load();
    reload();
  }
  update();
  return { close: watch(update) };
}

/** What each of the three looks said. */
function parts(told) {
  return Object.entries(told.checks ?? {}).map(([name, part]) => h("li", null, h("div", { class: "line" },
    badge(part.status ? "up" : "down", t(part.status ? "yes" : "no")), h("span", { class: "mono" }, name),
    h("span", { class: "grow", lang: "en" }, bdi(part.details?.message ?? "")),
    part.details?.error && h("span", { class: "dim small", lang: "en" }, bdi(part.details.error)))));
}

/** What a node of a kind that takes more is asked, and what must be in its answer. */
function asked(node) {
  const value = node.expect_value === undefined ? "" : ` = ${node.expect_value}`;
  const text = [node.rpc_method, node.path, node.expect_status, node.expect_field && node.expect_field + value].filter(Boolean).join("  ");
  return text && bdi(text, { class: "mono" });
}
