import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";

/** A port that nobody listens on. Another may take it before it is used: see who has it then. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A real server of its own, gone at the end. */
export async function startRedis() {
  const folder = mkdtempSync(join(tmpdir(), "rejoin-node-"));
  // Whoever answers there is this one; on the port it may be another's.
  const path = join(folder, "socket");
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const options = ["--port", port, "--bind", "127.0.0.1", "--unixsocket", path, "--dir", folder, "--save", ""];
    const child = spawn("redis-server", options.map(String), { stdio: "ignore" });
    const gone = once(child, "exit").catch((cause) => {
      throw new Error("redis-server cannot be started: apt-get install redis-server", { cause });
    });
    const client = new Redis({ path, retryStrategy: () => 50, maxRetriesPerRequest: null });
    client.on("error", () => {});
    const isUp = await Promise.race([client.ping().then(() => true, () => false), gone.then(() => false)]);
    const stop = async () => {
      client.disconnect();
      child.kill("SIGKILL");
      await gone;
    };
    if (!isUp) {
      await stop();
      if (attempt === 5) throw new Error(`redis-server does not start: see what it says with ${options.join(" ")}`);
      // Somebody has its port.
      continue;
    }
    return {
      url: `redis://127.0.0.1:${port}`,
      port,
      client,
      signal: (name) => child.kill(name),
      async stop() {
        await stop();
        rmSync(folder, { recursive: true, force: true });
      },
    };
  }
}

/**
 * Stands before a port of this machine. `pass(bytes, client, server)` decides of what a client says; without it everything passes.
 * `drop()` ends all connections, `freeze()` leaves those that there are standing, and lets what clients say through, but no answer.
 */
export async function proxyOf(port, pass = (bytes, _client, server) => server.write(bytes)) {
  const sockets = new Map();
  const proxy = createServer((client) => {
    const server = connect(port, "127.0.0.1");
    for (const [one, to] of [[client, server], [server, client]]) one.on("error", () => {}).on("close", () => to.destroy());
    sockets.set(client, server);
    client.on("close", () => sockets.delete(client));
    client.on("data", (bytes) => pass(bytes, client, server));
    server.pipe(client);
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const drop = () => {
    for (const client of sockets.keys()) client.destroy();
  };
  return {
    url: `redis://127.0.0.1:${proxy.address().port}`,
    server: proxy,
    drop,
    freeze() {
      for (const [client, server] of sockets) server.unpipe(client).resume();
    },
    async stop() {
      drop();
      if (proxy.listening) proxy.close();
    },
  };
}
