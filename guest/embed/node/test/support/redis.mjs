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

/**
 * What looks like a Redis until a connection stands, and does then with each command what `take(socket, words)` does. `connections`:
 * for each that there was, how many commands came after that, and whether it is open.
 */
export async function fakeRedis(take) {
  const connections = [];
  const fake = createServer((socket) => {
    const connection = { taken: 0, isOpen: true, socket };
    connections.push(connection);
    socket.on("error", () => {}).on("close", () => (connection.isOpen = false));
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      let from = 0;
      for (let found; (found = commandAt(text, from)); from = found.end) {
        const [name] = found.words;
        if (name === "info") socket.write("$9\r\nloading:0\r\n");
        else if (name === "client") socket.write("+OK\r\n");
        else {
          connection.taken += 1;
          take(socket, found.words);
        }
      }
      text = text.slice(from);
    });
  }).listen(0, "127.0.0.1");
  await once(fake, "listening");
  return {
    url: `redis://127.0.0.1:${fake.address().port}`,
    connections,
    stop() {
      for (const { socket } of connections) socket.destroy();
      fake.close();
    },
  };
}

/** The command that begins there, and where it ends; none when it has not come yet. */
function commandAt(text, from) {
  const words = [];
  const number = (at, sign) => {
    const end = text.indexOf("\r\n", at);
    if (end < 0) return undefined;
    if (text[at] !== sign) throw new Error(`no command: ${JSON.stringify(text.slice(at, at + 100))}`);
    return { is: Number(text.slice(at + 1, end)), end: end + 2 };
  };
  const count = number(from, "*");
  let at = count?.end;
  for (let left = count?.is; left > 0; left -= 1) {
    const length = number(at, "$");
    if (!length || text.length < length.end + length.is + 2) return undefined;
    words.push(text.slice(length.end, length.end + length.is));
    at = length.end + length.is + 2;
  }
  return count && { words, end: at };
}
