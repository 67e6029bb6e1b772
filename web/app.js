// The page as a whole: which view is open, the switches, what is said of the connection.

import { begin as begin_changes } from "./changes.js";
import { phase, state, watch } from "./data.js";
import { fill, h, here, say } from "./dom.js";
import { begin, link, resume } from "./live.js";
import * as migration from "./migration.js";
import * as migrations from "./migrations.js";
import * as node from "./node.js";
import * as nodes from "./nodes.js";
import * as overview from "./overview.js";
import { ask_token, sign_out } from "./session.js";
import { tick } from "./shapes.js";
import { clock, language, number, speak, t } from "./words.js";

const VIEWS = { "": overview, nodes, migrations, node, migration };
const PAGES = [["", "overview"], ["nodes", "nodes"], ["migrations", "migrations"]];

const main = document.getElementById("main");
const banner = document.getElementById("banner");
let open = null;
let opened = null;

/** Opens what the fragment names: `#/node/7`, `#/nodes?state=down`. */
function route(focus) {
  const hash = location.hash.startsWith("#/") ? location.hash.slice(2) : "";
  const [path, query] = hash.split("?");
  const [name, ...rest] = path.split("/").map((it) => {
    try { return decodeURIComponent(it); } catch { return it; }
  });
  open?.close();
  document.title = "procwarden";
  opened = Object.hasOwn(VIEWS, name) ? name : "";
  draw_nav();
  fill(main);
  if (state.loaded) {
    open = VIEWS[opened].open(main, rest, new URLSearchParams(query));
  } else {
    open = null;
    fill(main, h("p", { class: "none" }, t("loading")));
  }
  if (focus) {
    window.scrollTo(0, 0);
    (main.querySelector("h1") ?? main).focus({ preventScroll: true });
  }
}

const counts = new Map();

function draw_nav() {
  const owner = { node: "nodes", migration: "migrations" }[opened] ?? opened;
  counts.clear();
  fill(document.getElementById("nav"), PAGES.map(([name, key]) => {
    const count = h("span", { class: "count bad" });
    counts.set(name, count);
    return h("a", { href: `#/${name}`, "aria-current": name === owner ? "page" : null }, t(key), count);
  }));
  draw_counts();
}

/** How many need attention, beside the names of the pages and in the title. */
function draw_counts() {
  let down = 0;
  let failing = 0;
  for (const row of state.nodes.values()) down += row.state === "down";
  for (const row of state.migrations.values()) failing += ["dying", "stalled"].includes(phase(row));
  for (const [name, n] of [["", 0], ["nodes", down], ["migrations", failing]]) {
    const count = counts.get(name);
    if (!count) continue;
    say(count, n ? number(n) : "");
    count.hidden = n === 0;
  }
  const title = document.title.replace(/^\(\d+\) /, "");
  document.title = down + failing ? `(${down + failing}) ${title}` : title;
}

function draw_switches() {
  const theme = h("select", { id: "theme", onchange: () => {
    here.set("theme", theme.value === "auto" ? null : theme.value);
    if (theme.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme.value;
  } }, ["auto", "light", "dark"].map((it) => h("option", { value: it }, t(`theme.${it}`))));
  theme.value = document.documentElement.dataset.theme ?? "auto";
  const tongue = h("select", { id: "language", onchange: () => {
    here.set("language", tongue.value);
    speak(tongue.value);
    draw_all();
    document.getElementById("language").focus();
  } }, [["en", "English"], ["ru", "Русский"]].map(([value, name]) => h("option", { value, lang: value }, name)));
  tongue.value = language();
  const out = h("span");
  sign_out(out);
  fill(document.getElementById("switches"),
    h("label", { class: "unseen", for: "theme" }, t("theme")), theme,
    h("label", { class: "unseen", for: "language" }, t("language")), tongue, out);
}

let was_lost = false;

function draw_link() {
  const place = document.getElementById("link");
  place.className = `link ${link.state}`;
  say(place, t(`link.${link.state}`));
  if (link.state === "polling") place.title = t("link.polling.why");
  else place.removeAttribute("title");
  const lost = link.state === "lost";
  main.classList.toggle("old", lost && state.loaded);
  banner.hidden = !lost;
  if (lost) say(banner, link.answered ? t("lost", clock(link.lost), clock(link.answered)) : t("lost.never"));
  if (!lost && was_lost) say(document.getElementById("said"), t("back"));
  was_lost = lost;
}

function draw_all() {
  const skip = document.getElementById("skip");
  say(skip, t("skip"));
  document.getElementById("nav").setAttribute("aria-label", t("pages"));
  draw_switches();
  draw_link();
  route(false);
}

document.getElementById("skip").addEventListener("click", (event) => {
  // A fragment is a page here.
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", () => route(true));
setInterval(() => { if (!document.hidden && link.state !== "lost") tick(main); }, 1000);

let first = true;
watch(() => {
  draw_counts();
  if (first && state.loaded) {
    first = false;
    route(false);
  }
});
begin_changes();
draw_all();
begin(draw_link, (why) => ask_token(why, () => {
  draw_switches();
  resume();
}));
