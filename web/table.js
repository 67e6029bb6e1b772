// A table of many rows: filtered by state, searched, sorted, a page of it in the document. What did not change in a row is
// not made again, so a focus or a selection stays where it is.

import { watch } from "./data.js";
import { fill, h, say } from "./dom.js";
import { look } from "./shapes.js";
import { number, t, word } from "./words.js";

const SIZE = 50;

/**
 * A page with one table.
 *
 * `what`: its word; `rows`: gives all rows; `key`: a row's key; `group`: a row's group; `groups`: all of them, in the order
 * of their urgency; `text`: what a row is found by; `columns`: {name, of, make, order, wide}: `make` gives the content of a
 * cell, anew when what `of` gives is another; `then`: the order of equals; `shown`: is told which rows are in the document.
 */
export function listing(main, query, options) {
  const { what, rows, key, group, groups, text, columns, shown } = options;
  const choice = {
    state: query.get("state") ?? "",
    q: query.get("q") ?? "",
    by: query.get("by") ?? "",
    down: query.get("down") === "1",
    page: Math.max(1, Number.parseInt(query.get("page") ?? "1", 10) || 1),
  };
  const search = h("input", { type: "search", id: "q", value: choice.q, placeholder: t(`search.${what}`), autocomplete: "off", spellcheck: "false",
    oninput: () => choose({ q: search.value, page: 1 }) });
  const chips = h("div", { class: "chips", role: "group", "aria-label": t("filter") });
  const found = h("p", { class: "dim small", role: "status" });
  const head = h("tr", { role: "row" });
  const body = h("tbody", { role: "rowgroup" });
  const none = h("p", { class: "none", hidden: true });
  const pages = h("nav", { class: "pages", "aria-label": t("page.pages") });
  const table = h("table", { role: "table", class: `wide ${what}` }, h("caption", { class: "unseen" }, t(what)), h("thead", { role: "rowgroup" }, head), body);
  fill(main, h("h1", { tabindex: -1 }, t(what)),
    h("div", { class: "tools" }, h("label", { for: "q", class: "unseen" }, t("search")), search, chips, found), table, none, pages);

  const heads = columns.map((column) => {
    const cell = h("th", { role: "columnheader", scope: "col", class: column.name });
    if (column.order) cell.append(h("button", { type: "button", class: "sort", onclick: () => sort(column.name) }, t(`col.${column.name}`)));
    else cell.append(t(`col.${column.name}`));
    head.append(cell);
    return cell;
  });

  function choose(change) {
    Object.assign(choice, change);
    const kept = new URLSearchParams();
    for (const [name, value] of Object.entries(choice)) {
      if (value && !(name === "page" && value === 1)) kept.set(name, value === true ? "1" : value);
    }
    const tail = kept.toString();
    history.replaceState(null, "", `#/${what}${tail ? `?${tail}` : ""}`);
    update();
  }

  function sort(name) {
    // Up, down, and back to the order of urgency.
    if (choice.by !== name) choose({ by: name, down: false, page: 1 });
    else if (!choice.down) choose({ down: true, page: 1 });
    else choose({ by: "", down: false, page: 1 });
  }

  const drawn = new Map();

  function update() {
    const all = [...rows()];
    const counts = new Map(groups.map((name) => [name, 0]));
    for (const row of all) counts.set(group(row), (counts.get(group(row)) ?? 0) + 1);
    draw_chips(counts, all.length);
    const words = choice.q.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row) => (!choice.state || group(row) === choice.state)
      && words.every((it) => searched(row, text).includes(it));
    const list = all.filter(fits);
    order(list);
    const last = Math.max(1, Math.ceil(list.length / SIZE));
    const page = Math.min(choice.page, last);
    const from = (page - 1) * SIZE;
    const part = list.slice(from, from + SIZE);
    draw(part);
    say(found, list.length === all.length ? "" : t("found", number(list.length), number(all.length)));
    none.hidden = list.length > 0;
    table.hidden = list.length === 0;
    say(none, all.length ? t("none.found") : t("nothing"));
    draw_pages(page, last, from, part.length, list.length);
    heads.forEach((cell, i) => {
      const sorted = columns[i].name === choice.by;
      cell.setAttribute("aria-sort", sorted ? (choice.down ? "descending" : "ascending") : "none");
      if (!sorted) cell.removeAttribute("aria-sort");
    });
    shown?.(part, table);
  }

  function order(list) {
    const column = columns.find((it) => it.name === choice.by);
    const urgency = new Map(groups.map((name, i) => [name, i]));
    const by = column?.order ?? ((row) => urgency.get(group(row)) ?? groups.length);
    const sign = choice.down ? -1 : 1;
    list.sort((a, b) => {
      const [x, y] = [by(a), by(b)];
      // What is not known stands last in either direction.
      if (x === y) return compare(options.then(a), options.then(b));
      if (x === null) return 1;
      if (y === null) return -1;
      return sign * compare(x, y);
    });
  }

  function draw(part) {
    const here = new Set();
    part.forEach((row, i) => {
      const name = key(row);
      here.add(name);
      let line = drawn.get(name);
      if (!line) {
        const cells = columns.map((column) => h("td", { role: "cell", class: column.name, "data-label": t(`col.${column.name}`) }));
        line = { element: h("tr", { role: "row" }, cells), cells, of: [], rev: -1 };
        drawn.set(name, line);
      }
      if (line.rev !== row.rev) {
        line.rev = row.rev;
        const its = look(group(row));
        line.element.className = its === "bad" || its === "warn" ? its : "";
        columns.forEach((column, n) => {
          const of = column.of(row);
          if (line.of[n] === of) return;
          line.of[n] = of;
          fill(line.cells[n], column.make(row));
        });
      }
      if (body.children[i] !== line.element) body.insertBefore(line.element, body.children[i] ?? null);
    });
    for (const [name, line] of drawn) {
      if (here.has(name)) continue;
      line.element.remove();
      drawn.delete(name);
    }
  }

  const buttons = new Map();

  function draw_chips(counts, total) {
    if (!buttons.size) {
      for (const name of ["", ...groups]) {
        const count = h("span", { class: "count" });
        const label = name ? word(name) : t("all");
        const button = h("button", { type: "button", class: name ? `chip ${look(name)}` : "chip", onclick: () => choose({ state: name, page: 1 }) }, label, " ", count);
        buttons.set(name, { button, count });
        chips.append(button);
      }
    }
    for (const [name, { button, count }] of buttons) {
      const n = name ? counts.get(name) ?? 0 : total;
      say(count, number(n));
      button.setAttribute("aria-pressed", String(choice.state === name));
      button.hidden = Boolean(name) && n === 0 && choice.state !== name;
    }
  }

  const previous = h("button", { type: "button", onclick: () => choose({ page: Math.max(1, choice.page - 1) }) }, t("page.previous"));
  const next = h("button", { type: "button", onclick: () => choose({ page: choice.page + 1 }) }, t("page.next"));
  const where = h("span", { role: "status" });
  pages.append(previous, where, next);

  function draw_pages(page, last, from, shown_now, total) {
    choice.page = page;
    pages.hidden = last === 1;
    previous.disabled = page === 1;
    next.disabled = page === last;
    say(where, t("page", number(from + 1), number(from + shown_now), number(total)));
  }

  update();
  const end = watch(update);
  return { close: end, update };
}

function searched(row, text) {
  if (row.searched_rev !== row.rev) {
    row.searched = text(row).toLowerCase();
    row.searched_rev = row.rev;
  }
  return row.searched;
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
function compare(x, y) {
  if (x === null || y === null) return (x === null) - (y === null);
  return typeof x === "string" ? collator.compare(x, String(y)) : x - y;
}
