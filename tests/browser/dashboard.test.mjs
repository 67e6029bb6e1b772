// The dashboard in a real browser, against a real procwarden with real processes.

import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { axe, close, open, shot, violations } from "./browser.mjs";
import { UUID, World, free_port, until } from "./warden.mjs";

const PAGES = { stage: "Миграция страниц", pages: { current_stage: "Миграция страниц", total_pages: 42, processed_pages: 17, progress_percent: 40.48 } };
const LONG_AGO = 1700000000;

const worlds = [];
const make = async (options) => {
  const world = await World.make(options);
  worlds.push(world);
  return world;
};
afterEach(async () => {
  while (worlds.length) await worlds.pop().end();
});
after(close);

/** Whether the page had no fault and met no wall of its policy. A server that keeps no history answers 404 to its question. */
async function clean(page, faults) {
  assert.deepEqual(faults.filter((it) => !/404 .*\/history/.test(it)), []);
  assert.deepEqual(await violations(page), []);
}

const badge_of = (page, name) => page.locator("tbody tr", { hasText: name }).locator(".badge").textContent();
const text_of = (page, selector) => page.locator(selector).innerText();

test("the first screen tells of the monitor, its jobs and its nodes, and a killed process turns without a reload", async () => {
  const world = await make({ server: 'base_paths = ["/panel/monitor"]' });
  const wallet = await world.wallet();
  await world.node({ name: "main-wallet", title: "Основной кошелёк", port: wallet.port });
  await world.node({ name: "closed", title: "Nothing listens there", port: await free_port() });
  await world.job(23131991, PAGES.pages);
  const dying = await world.job(23131992, PAGES.pages);
  const doomed = await world.job(23131993, { ...PAGES.pages, started_timestamp: LONG_AGO });
  // Without the slash, under a base path. Whether the monitor is alive: how many, the last beat, how late.
  const { page, faults } = await open(`${world.url}/panel/monitor`);
  assert.equal(page.url(), `${world.url}/panel/monitor/`);
  await until("the nodes and jobs", async () => /1 of 2 up/.test(await text_of(page, "main")) && /3 running/.test(await text_of(page, "main")));
  assert.match(await text_of(page, ".tile >> nth=0"), /Watching[^]*1 of 1 instance live · last beat (just now|\d+ s ago) · last pass [\d,]+ ms · at most [\d,]+ ms late/);
  await until("the stream", async () => (await text_of(page, "#link")) === "Live");
  await page.evaluate(() => { window.mark = "the same document"; });

  const rows = page.locator("section", { hasText: "Jobs now" }).locator("li");
  dying.kill("SIGKILL");
  doomed.kill("SIGKILL");
  await until("the time left", async () => /dead, in grace\s*23131992[^]*error in \d+ s[^]*killed by SIGKILL/.test(await rows.nth(0).innerText()));
  await until("the error", async () => {
    const text = await page.locator("li.bad", { hasText: "23131993" }).first().innerText();
    return text.includes(PAGES.stage) && text.includes(`PID ${doomed.pid}`) && text.includes("killed by SIGKILL");
  });
  await until("what is said", async () => /migration 2313199\d: /.test(await page.locator("#said").textContent()));
  await shot(page, "overview");

  await page.click("nav >> text=Nodes");
  await until("its row", async () => (await badge_of(page, "main-wallet")) === "up");
  await page.click("button.chip >> text=down");
  await until("the one that is down", async () => (await page.locator("tbody tr").count()) === 1 && (await badge_of(page, "closed")) === "down");
  assert.match(page.url(), /state=down/);
  await page.click("button.chip >> text=All");
  await until("both again", async () => (await page.locator("tbody tr").count()) === 2);
  wallet.child.kill("SIGKILL");
  await until("its row turns", async () => (await badge_of(page, "main-wallet")) === "down");
  await until("what changed", async () => /main-wallet: down/.test(await page.locator("#said").textContent()));
  await shot(page, "nodes");
  await page.goto(`${page.url().split("#")[0]}#/`);
  await until("the list of changes", async () => /main-wallet\s+up\s*→\s*down/.test(await page.locator("section", { hasText: "Changed in the last hour" }).innerText()));
  assert.equal(await page.evaluate(() => window.mark), "the same document");
  assert.match(await page.title(), /^\(\d\) /);
  await clean(page, faults);
});

test("the page of a node checks it, the page of a migration says why", async () => {
  const world = await make();
  const wallet = await world.wallet();
  const node = await world.node({ name: "main-wallet", port: wallet.port, maintenance_until: "2099-12-31T12:00:00Z" });
  const job = await world.job(7, PAGES.pages);
  const { page, faults } = await open(`${world.url}/#/node/${node.id}`);
  await until("the node", async () => (await text_of(page, "h1")) === "main-wallet");
  await until("its maintenance", async () => /No alerts until[^]*2099/.test(await text_of(page, "main > .lead")));
  await page.click("text=Check now >> nth=-1");
  await until("the three looks", async () => /It works[^]*pid[^]*port[^]*api/.test(await text_of(page, "main")));
  await shot(page, "node", { fullPage: true });
  job.kill("SIGKILL");
  await page.goto(`${world.url}/#/migration/7/${UUID}`);
  await until("the conditions", async () => /The process is dead[^]*killed by SIGKILL[^]*yes[^]*The lock is as old as[^]*60s[^]*no/.test(await text_of(page, "main")));
  // The record follows what is seen.
  await until("the time left", async () => /error in \d+ s/.test(await text_of(page, "main > .lead")));
  await until("its end", async () => /How it ended\s+killed by SIGKILL/.test(await text_of(page, "main")));
  await shot(page, "migration", { fullPage: true });
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), "H1");
  await clean(page, faults);
});

test("the history of a node is a timeline, page by page, with its uptime", async () => {
  const world = await make();
  const good = { result: { version: 65562 } };
  let rpc = await world.answering(good);
  const node = await world.node({ name: "main-wallet", port: rpc.port });
  // A page of two turns instead of a hundred: the address is the only thing that is changed.
  const { page, context, faults } = await open("about:blank");
  await context.route(/\/nodes\/\d+\/history/, (route) => {
    const url = new URL(route.request().url());
    url.searchParams.set("limit", "2");
    return route.continue({ url: url.href });
  });
  await page.goto(`${world.url}/#/node/${node.id}`);
  const is = (wanted) => until(`it is ${wanted}`, async () => (await page.locator("main > .lead .badge").textContent()) === wanted);
  await is("up");
  await until("no change yet", async () => /No change is recorded yet/.test(await text_of(page, ".timeline")));
  for (const [wanted, turn] of [["down", () => rpc.close()], ["up", async () => { rpc = await world.answering(good, rpc.port); }], ["down", () => rpc.close()]]) {
    await turn();
    await is(wanted);
  }
  const lines = page.locator(".timeline li");
  await until("the newest two", async () => (await lines.count()) === 2 && /up\s*→\s*down\s+nothing listens on the port/.test(await lines.nth(0).innerText()));
  await page.click("text=Older");
  await until("the one before", async () => (await lines.count()) === 3);
  assert.match(await lines.nth(1).innerText(), /down\s*→\s*up/);
  assert.match(await lines.nth(2).innerText(), /up\s*→\s*down/);
  assert.equal(await page.locator("text=Older").isVisible(), false);
  assert.match(await text_of(page, ".facts.uptime"), /24 hours\s+\d+(\.\d+)? %[^]*30 days\s+\d+(\.\d+)? %/);
  await shot(page, "history", { fullPage: true });
  assert.deepEqual(await axe(page), []);
  await clean(page, faults);
});

test("a lost server is said and greyed, and its return is seen", async () => {
  const world = await make();
  await world.job(23131991, PAGES.pages);
  const { page } = await open(`${world.url}/`);
  await until("the job", async () => /1 running/.test(await text_of(page, "main")));
  assert.equal(await page.locator("#banner").isVisible(), false);
  await world.stop();
  await until("that it is lost", async () => /No connection to procwarden since \d\d:\d\d:\d\d/.test(await text_of(page, "#banner")));
  assert.equal(await page.locator("main.old").count(), 1);
  assert.equal(await text_of(page, "#link"), "No connection");
  await shot(page, "lost");
  await world.start();
  await until("that it is back", async () => (await text_of(page, "#link")) === "Live");
  assert.equal(await page.locator("#banner").isVisible(), false);
  assert.equal(await page.locator("main.old").count(), 0);
  await world.job(23131992, PAGES.pages);
  await until("that the stream is back", async () => /2 running/.test(await text_of(page, "main")));
});

test("both languages and both themes, by the browser and by a switch, on every page and down to 360 px", async () => {
  const world = await make();
  const node = await world.node({ name: "closed", title: "Основной кошелёк", port: await free_port() });
  await world.node({ name: "not-in-use", port: 18082, available: false });
  await world.job(23131991, PAGES.pages);
  await world.job(23131992, { current_stage: "Copying images", progress_percent: 88 });
  (await world.job(23131993, { ...PAGES.pages, started_timestamp: LONG_AGO })).kill("SIGKILL");
  await world.lock(23131994, { pid: "none" });
  const { page, faults } = await open(`${world.url}/`, { locale: "ru-RU", colorScheme: "dark" });
  await until("Russian", async () => /Работает 0 из 1[^]*ошибка/.test(await text_of(page, "main")));
  assert.equal(await page.locator("html").getAttribute("lang"), "ru");
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  const hashes = ["#/", "#/nodes", "#/migrations", `#/node/${node.id}`, `#/migration/23131993/${UUID}`];
  for (const [language, theme] of [["ru", "dark"], ["en", "light"]]) {
    await page.selectOption("#language", language);
    await page.selectOption("#theme", theme);
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 740 });
      for (const hash of hashes) {
        await page.goto(`${world.url}/${hash}`);
        await until("the page", async () => (await page.locator("main h1").count()) === 1 && !/Читаем|Reading/.test(await text_of(page, "main")));
        if (hash.startsWith("#/migration/")) await page.locator("table.explain, .facts").first().waitFor();
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= width, `${hash} is ${wide} wide at ${width}`);
        const name = hash.replace(/\W+/g, " ").trim().split(" ")[0] || "overview";
        await shot(page, `${name}-${language}-${theme}-${width}`, { fullPage: true });
        assert.deepEqual(await axe(page), [], `${hash} at ${width} in ${theme}`);
      }
    }
  }
  assert.notEqual(await ground(), dark);
  assert.match(await text_of(page, "nav#nav"), /Overview/);
  // What was chosen is remembered, whatever the browser's own language is.
  await page.reload();
  await until("English again", async () => /Overview/.test(await text_of(page, "nav#nav")));
  assert.equal(await page.locator("html").getAttribute("data-theme"), "light");
  await clean(page, faults);
});

test("hostile names and texts are shown harmlessly", async () => {
  const world = await make();
  const html = '<img src=x onerror="window.pwned=1"><script>window.pwned=2</script>';
  const turned = "\u202egnp.exe\u2066 \u001b[31mred\u001b[0m \u0007";
  const long = "W".repeat(255);
  // What a server says of itself is no better than what a user types.
  const rpc = await world.answering({ error: { code: -1, message: html + turned + "Щ".repeat(4096) } });
  const told = await world.node({ name: "says-much", port: rpc.port });
  await world.node({ name: '"><svg onload=window.pwned=3>'.replaceAll("/", ""), title: html, port: 9 });
  // The registry takes no control characters in names and titles; locks may have anything.
  await world.node({ name: "turned\u202eeman", title: turned.replace(/[\u0000-\u001f]/g, ""), port: 9 });
  await world.node({ name: "W".repeat(128), title: long, port: 9, daemon: "javascript:window.pwned=4" });
  await world.job(1, { current_stage: html, total_pages: html, processed_pages: [1], progress_percent: "9e999" });
  await world.job(2, { current_stage: turned + "Ж".repeat(4096), total_pages: -5, processed_pages: null, progress_percent: 1e308 });
  await world.job(3, { current_stage: { a: [html] }, total_pages: "12", processed_pages: "7" }, "<b>uuid<b>");
  const { page, faults } = await open(`${world.url}/#/nodes`, { viewport: { width: 360, height: 740 } });
  for (const hash of ["#/nodes", "#/", "#/migrations", "#/node/1", "#/node/2", "#/node/3", "#/node/4", "#/migration/1", "#/migration/2", "#/migration/3/%3Cb%3Euuid%3Cb%3E", "#/node/%3Cimg%20src=x%3E", "#/migration/x%E0%A4%A"]) {
    await page.goto(`${world.url}/${hash}`);
    await until("the page", async () => (await page.locator("main h1").count()) === 1 && !/Reading/.test(await text_of(page, "main")));
    if (hash === "#/nodes") await until("the title as text", async () => (await text_of(page, "main")).includes(html));
    if (hash === "#/migrations") await until("the stage as text", async () => (await text_of(page, "main")).includes(html));
    if (hash === "#/migration/2") await until("the long one", async () => (await text_of(page, "main")).includes("ЖЖЖ"));
    if (hash === `#/node/${told.id}`) {
      await page.click("text=Check now >> nth=-1");
      await until("what it says as text", async () => (await text_of(page, "main")).includes(html));
    }
    const seen = await page.evaluate(() => ({
      pwned: window.pwned ?? null,
      foreign: document.querySelectorAll("main img, main script, main b, main iframe, main [onload], main [onerror]").length,
      unseen: /[\u001b\u0007\u202a-\u202e\u2066-\u2069]/.test(document.body.textContent + document.title),
      wide: document.documentElement.scrollWidth,
    }));
    assert.deepEqual(seen, { pwned: null, foreign: 0, unseen: false, wide: 360 }, hash);
    await shot(page, `hostile-${hash.replace(/\W+/g, "-")}`, { fullPage: true });
  }
  // A node and a migration that are not there are a 404 each, which is told.
  await clean(page, faults.filter((it) => !/404|400/.test(it)));
});

test("a read token is asked for once and becomes a cookie that reads and never writes", async () => {
  const world = await make({ server: 'read_token = "reader-token"\nbase_paths = ["/panel"]' });
  await world.job(23131991, PAGES.pages);
  const { page, context, faults } = await open(`${world.url}/panel/`);
  await page.locator("dialog #token").waitFor();
  assert.deepEqual(await axe(page), []);
  await shot(page, "token");
  await page.fill("#token", "wrong");
  await page.keyboard.press("Enter");
  await until("the refusal", async () => /not accepted/.test(await text_of(page, "dialog")));
  await page.fill("#token", "reader-token");
  await page.keyboard.press("Enter");
  await until("the page behind it", async () => /1 running/.test(await text_of(page, "main")) && (await text_of(page, "#link")) === "Live");
  const [cookie, ...others] = await context.cookies();
  assert.deepEqual(others, []);
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path, cookie.secure], [true, "Strict", "/panel/", false]);
  assert.ok(!cookie.value.includes("reader-token"));
  assert.equal(await page.evaluate(() => document.cookie), "");
  assert.ok(!(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))).includes("reader-token"));
  const write = await page.evaluate(async () => (await fetch("nodes", { method: "POST", headers: { "content-type": "application/json" }, body: '{"name":"n","port":1}' })).status);
  assert.equal(write, 401);
  await page.reload();
  await until("no second question", async () => /1 running/.test(await text_of(page, "main")));
  assert.equal(await page.locator("dialog").count(), 0);
  // A restart of the server is no reason to ask again.
  await world.stop();
  await until("that it is lost", async () => (await text_of(page, "#link")) === "No connection");
  await world.start();
  await until("that it is back", async () => (await text_of(page, "#link")) === "Live");
  await page.click("text=Sign out");
  await page.locator("dialog #token").waitFor();
  assert.deepEqual(await context.cookies(), []);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(faults.filter((it) => it.startsWith("thrown")), []);
});

test("ten thousand nodes stay usable, by the keyboard alone", async () => {
  const port = await free_port();
  const many = Array.from({ length: 10000 }, (_, i) => `[[node]]\nname = "node-${i}"\nport = ${port}\nprocess_name = "none"\n`).join("");
  const world = await make({ interval: "10m", nodes: many });
  const { page, faults } = await open(`${world.url}/#/nodes`);
  await until("the table", async () => /of 10,000/.test(await text_of(page, ".pages")));
  assert.equal(await page.locator("tbody tr").count(), 50);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.keyboard.press("Tab");
  await page.keyboard.type("node-4711");
  await until("what is found", async () => (await page.locator("tbody tr").count()) === 1);
  assert.match(page.url(), /q=node-4711/);
  await page.fill("#q", "");
  await page.focus("th.name button");
  await page.keyboard.press("Enter");
  await until("the order", async () => /^node-0\b/.test(await page.locator("tbody td.name").first().innerText()));
  assert.equal(await page.locator("th.name").getAttribute("aria-sort"), "ascending");
  await page.keyboard.press("Enter");
  await until("the other order", async () => /^node-9999\b/.test(await page.locator("tbody td.name").first().innerText()));
  await page.focus(".pages button:last-child");
  await page.keyboard.press("Enter");
  await until("the next page", async () => /^51–100 of 10,000/.test(await text_of(page, ".pages span")));
  assert.equal(await page.locator("tbody tr").count(), 50);
  assert.ok(await page.evaluate(() => document.querySelectorAll("*").length) < 3000);
  await shot(page, "many");
  await clean(page, faults);
});
