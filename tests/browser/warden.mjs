// A real procwarden with real processes: jobs under lock files, servers that answer, a wallet server.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const BINARY = process.env.PROCWARDEN_BINARY;
export const UUID = "3c56530e-ca31-4a7c-964f-e69be01f382a";

/** Waits until the function gives something true; fails with what it said last. */
export async function until(what, run, ms = 30000) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      last = await run();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not in time: ${what}; last: ${last?.stack ?? last}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

export async function free_port() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

export class World {
  #children = new Set();
  #servers = new Set();

  /** `server` is put into the section of that name, `nodes` after the last; the lock directory is there from the beginning. */
  static async make({ server = "", interval = "1s", nodes = "" } = {}) {
    const world = new World();
    world.dir = await mkdtemp(join(tmpdir(), "procwarden-browser-"));
    world.locks = join(world.dir, "locks");
    world.config = join(world.dir, "procwarden.toml");
    world.port = await free_port();
    world.url = `http://127.0.0.1:${world.port}`;
    await mkdir(world.locks);
    await writeFile(world.config, `
[server]
listen = "127.0.0.1:${world.port}"
drain = "50ms"
token = "writer"
${server}
[database]
url = "sqlite://${world.dir}/procwarden.db"
[instance]
name = "host-1"
[nodes]
interval = "${interval}"
[migrations]
lock_dir = "${world.locks}"
interval = "1s"
grace = "60s"
settle = "200ms"
${nodes}
`, { mode: 0o600 });
    await world.start();
    return world;
  }

  run(name, args, options = {}) {
    const child = spawn(name, args, { stdio: ["ignore", "pipe", "pipe"], cwd: this.dir, ...options });
    const log = createWriteStream(join(this.dir, `${child.pid}.log`));
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    child.on("exit", () => this.#children.delete(child));
    this.#children.add(child);
    return child;
  }

  async start() {
    this.server = this.run(BINARY, ["--config", this.config, "serve"], { env: { PATH: process.env.PATH, HOME: this.dir } });
    await until("procwarden is ready", async () => (await fetch(`${this.url}/readyz`)).ok);
  }

  async stop() {
    this.server.kill("SIGTERM");
    await once(this.server, "exit");
  }

  /** A background job and its lock; `fields` are put into the lock. */
  async job(id, fields = {}, uuid = UUID) {
    const child = this.run("sleep", ["600"]);
    await this.lock(id, { pid: child.pid, ...fields }, uuid);
    return child;
  }

  async lock(id, fields, uuid = UUID) {
    const lock = { mb_project_uuid: uuid, brz_project_id: id, started_timestamp: Math.floor(Date.now() / 1000), ...fields };
    await writeFile(join(this.locks, `${uuid}-${id}.lock`), JSON.stringify(lock));
  }

  async node(fields) {
    const response = await fetch(`${this.url}/nodes`, {
      method: "POST",
      headers: { authorization: "Bearer writer", "content-type": "application/json" },
      body: JSON.stringify(fields),
    });
    if (!response.ok) throw new Error(await response.text());
    return (await response.json()).data;
  }

  /** A real wallet server without login. */
  async wallet() {
    const port = await free_port();
    const home = join(this.dir, `wallet-${port}`);
    await mkdir(home);
    const child = this.run("monero-wallet-rpc", ["--rpc-bind-ip", "127.0.0.1", "--rpc-bind-port", String(port), "--wallet-dir", home,
      "--log-file", join(home, "log"), "--shared-ringdb-dir", join(home, "ringdb"), "--non-interactive", "--rpc-ssl", "disabled",
      "--disable-rpc-login", "--offline"]);
    await until("the wallet server answers", async () => {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
      const body = JSON.stringify({ jsonrpc: "2.0", id: "test", method: "get_version" });
      return (await fetch(`http://127.0.0.1:${port}/json_rpc`, { method: "POST", body })).ok;
    }, 90000);
    return { child, port };
  }

  /** A JSON-RPC server that answers each request with this, on a port of before if one is given. */
  async answering(answer, port = 0) {
    const server = createHttpServer(async (request, response) => {
      const { id } = JSON.parse((await request.toArray()).join(""));
      response.end(JSON.stringify({ jsonrpc: "2.0", id, ...answer }));
    }).listen(port, "127.0.0.1");
    await once(server, "listening");
    this.#servers.add(server);
    const close = async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
      this.#servers.delete(server);
    };
    return { port: server.address().port, close };
  }

  async end() {
    for (const server of this.#servers) {
      server.closeAllConnections();
      server.close();
    }
    const children = [...this.#children];
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map((child) => (child.exitCode === null && child.signalCode === null ? once(child, "exit") : null)));
    await rm(this.dir, { recursive: true, force: true });
  }

  async log() {
    return readFile(join(this.dir, `${this.server.pid}.log`), "utf8");
  }
}
