// A real browser, which is told nothing but the page's address.

import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const SHOTS = process.env.PROCWARDEN_SHOTS ?? fileURLToPath(new URL("../../target/browser", import.meta.url));
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

let browser = null;
let profile = null;

/** A page of a fresh context, with what went wrong in it. */
export async function open(url, options = {}) {
  if (!browser) {
    profile = await mkdtemp(join(tmpdir(), "procwarden-profile-"));
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS,
      env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile } });
  }
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", ...options });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(`${message.type()}: ${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => faults.push(`thrown: ${error.stack}`));
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (it) => window.violations.push(`${it.violatedDirective}: ${it.blockedURI} ${it.sample}`));
  });
  await page.goto(url);
  return { page, context, faults };
}

export async function close() {
  await browser?.close();
  if (profile) await rm(profile, { recursive: true, force: true });
}

export async function shot(page, name, options = {}) {
  await mkdir(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`), ...options });
}

/** What axe-core finds that is serious or worse, each in a line. */
export async function axe(page) {
  // The tool is put in beside the page's policy, as a debugger is; the policy itself is not changed.
  const source = await readFile(AXE, "utf8");
  const client = await page.context().newCDPSession(page);
  const run = `${source};axe.run(document, { resultTypes: ["violations"] }).then((it) => JSON.stringify(it.violations))`;
  const { result, exceptionDetails } = await client.send("Runtime.evaluate", { expression: run, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
  return JSON.parse(result.value).filter((it) => ["serious", "critical"].includes(it.impact))
    .map((it) => `${it.id} (${it.impact}): ${it.nodes.map((node) => `${node.target} ${node.failureSummary}`).join(" | ").slice(0, 900)}`);
}

export const violations = (page) => page.evaluate(() => window.violations);
