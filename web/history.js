// What is recorded of a node or a migration, where the server keeps it: a timeline, and how much of the time a node was up.

import { ask } from "./data.js";
import { bdi, fill, h } from "./dom.js";
import { badge, at, section, uptime } from "./shapes.js";
import { lasting, t, word } from "./words.js";

const PERIODS = ["24h", "7d", "30d"];

/** Shows the history at this path in a place, and nothing where the server has none. */
export function history(place, path) {
  const list = h("ol", { class: "timeline" });
  const more = h("p", { class: "more", hidden: true });
  const above = h("div");
  let known = "";
  let older = false;

  async function load() {
    const answer = await ask(path).catch((error) => ({ error }));
    if (answer.error) {
      if (answer.error.status === 404) fill(place);
      return;
    }
    const body = answer.body ?? {};
    const sign = JSON.stringify(body);
    if (sign === known) return;
    if (!known) fill(place, section(t("history"), above, list, more));
    known = sign;
    fill(above, body.uptime && periods(body.uptime));
    if (older) return;
    fill(list, (body.history ?? []).map(line));
    if (!list.children.length) fill(list, h("li", { class: "none" }, t("history.none")));
    offer(body.next);
  }

  function offer(next) {
    more.hidden = next === null || next === undefined;
    fill(more, !more.hidden && h("button", { type: "button", onclick: () => page(next) }, t("more.older")));
  }

  async function page(next) {
    const mark = path.includes("?") ? "&" : "?";
    const answer = await ask(`${path}${mark}before=${encodeURIComponent(next)}`).catch(() => null);
    if (!answer) return;
    older = true;
    list.append(...(answer.body?.history ?? []).map(line));
    offer(answer.body?.next);
  }

  load();
  return load;
}

function line(it) {
  return h("li", null, h("span", { class: "dim" }, at(it.at)),
    h("span", null, it.from && [h("span", { class: "dim" }, word(it.from)), " → "], badge(it.to)),
    h("span", { class: "grow" }, word(it.reason) ?? ""),
    it.instance && h("span", { class: "dim small" }, bdi(it.instance, null, 60)));
}

function periods(told) {
  return h("dl", { class: "facts uptime" }, PERIODS.filter((it) => told[it]).map((it) => h("div", null,
    h("dt", null, `${t("uptime")}, ${t(`period.${it}`)}`),
    h("dd", null, h("span", { class: "big" }, uptime(told[it])),
      told[it].unknown_seconds > 0 && h("span", { class: "dim small" }, ` ${t("uptime.unknown", lasting(told[it].unknown_seconds))}`)))));
}
