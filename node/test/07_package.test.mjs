// The package itself: its types, the parts of socket.io that it touches, its options, and what npm packs.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "node:test";

const require = createRequire(import.meta.url);
const { Server: SocketServer, Socket } = require("socket.io");
const { Server } = require("../dist/index.js");
const folder = fileURLToPath(new URL("../", import.meta.url));

test("the private parts of socket.io that this package touches are there", () => {
  const server = new SocketServer();
  const nsp = server.of("/x");
  for (const [what, it] of [
    ["_nsps", server._nsps],
    ["sockets", nsp.sockets],
    ["_preConnectSockets", nsp._preConnectSockets],
  ]) {
    assert.ok(it instanceof Map, what);
  }
  for (const [what, it] of [
    ["_createSocket", nsp._createSocket],
    ["_onServerSideEmit", nsp._onServerSideEmit],
    ["_onclose", Socket.prototype._onclose],
    ["_cleanup", Socket.prototype._cleanup],
    ["notifyOutgoingListeners", Socket.prototype.notifyOutgoingListeners],
    ["apply", server.adapter().prototype.apply],
    ["bind", server.bind],
  ]) {
    assert.equal(typeof it, "function", what);
  }
  const conn = Object.assign(new (require("node:events"))(), {
    id: "1",
    protocol: 4,
    readyState: "open",
    request: { headers: {}, connection: {} },
    transport: { writable: true },
    write() {},
    close() {},
  });
  const written = [];
  conn.write = (packet) => written.push(packet);
  const bound = new SocketServer({
    parser: {
      Encoder: class {
        encode(p) {
          return [p];
        }
      },
      Decoder: class {
        on(_, take) {
          this.add = take;
        }
        removeListener() {}
        destroy() {}
      },
    },
  });
  const engine = new (require("node:events"))();
  bound.bind(engine);
  const socket = new Promise((resolve) => bound.on("connection", resolve));
  engine.emit("connection", conn);
  conn.emit("data", { type: 0, nsp: "/", data: {} });
  return socket.then((s) => {
    assert.equal(written[0].type, 0);
    assert.equal(written[0].data.sid, s.id);
    const previous = new Socket(nsp, s.client, {}, { sid: "a", rooms: ["r"], data: 7, missedPackets: [] });
    assert.deepEqual([previous.id, previous.recovered, previous.data, [...previous.rooms]], ["a", true, 7, ["r"]]);
    conn.emit("close");
  });
});

test("options that are the edge's give an error with its setting", () => {
  for (const [option, setting] of [
    ["cors", /cors\.origins/],
    ["pingInterval", /engine\.ping_interval/],
    ["maxHttpBufferSize", /engine\.max_payload/],
    ["adapter", /NATS/],
  ]) {
    assert.throws(() => new Server({ [option]: {} }), setting);
  }
  assert.throws(() => new Server(3000), /set listen/);
  assert.throws(() => new Server({ group: "a b" }), /group/);
  assert.throws(() => new Server({ prefix: "$x" }), /nats\.prefix/);
});

const program = `
import { createServer } from "node:http";
import { Server, type Grant, type Member, type Socket, type ServerOptions } from "partyline";

interface ClientToServerEvents { hello: (name: string, done: (length: number) => void) => void }
interface ServerToClientEvents {
  news: (id: number) => void;
  ask: (question: string, done: (answer: boolean) => void) => void;
}
interface InterServerEvents { ping: (done: (pong: number) => void) => void }
interface SocketData { user: string }

const options: Partial<ServerOptions> = { nats: "nats://127.0.0.1:4222" };
type Chat = [ClientToServerEvents, ServerToClientEvents, InterServerEvents, SocketData];
const io = new Server<Chat[0], Chat[1], Chat[2], Chat[3]>(createServer(), options);
io.on("connection", async (socket: Socket<Chat[0], Chat[1], Chat[2], Chat[3]>) => {
  socket.data.user = "ann";
  const grant: Grant = { emit: ["hello"], join: null, expires: new Date() };
  await socket.setGrant(grant);
  const stop: () => void = io.of("/").follow("room", (joined: Member[]) => console.log(joined[0].user, stop));
  const granted: number = await socket.to("room").setGrant(grant) + await io.setGrant(grant) + await io.of("/").setGrant(grant);
  socket.on("hello", (name, done) => done(name.length));
  socket.emit("news", 1);
  const answer: boolean = await socket.timeout(1000).emitWithAck("ask", "?");
  const answers: boolean[] = await io.timeout(1000).emitWithAck("ask", "?");
  const pongs: number[] = await io.serverSideEmitWithAck("ping");
  console.log(answer, answers, pongs, granted, io.instance);
  // @ts-expect-error
  void socket.setGrant({ emits: [] });
  // @ts-expect-error
  socket.emit("news", "one");
  // @ts-expect-error
  socket.on("unknown", () => {});
});
void io.leave().then(() => io.close());
`;

test(
  "the packed package works in a fresh folder: TypeScript strict, ESM and CommonJS, and is small",
  { timeout: 120_000 },
  () => {
    const fresh = mkdtempSync(join(tmpdir(), "partyline-"));
    try {
      const [{ filename, size, files }] = JSON.parse(
        execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", fresh], {
          cwd: folder,
          encoding: "utf8",
        }),
      );
      assert.ok(size < 100_000, `${size} bytes`);
      assert.ok(!files.some(({ path }) => /test|src\//.test(path)), "no tests and no sources");
      mkdirSync(join(fresh, "node_modules"));
      execFileSync("tar", ["xzf", filename], { cwd: fresh });
      execFileSync("mv", ["package", "node_modules/partyline"], { cwd: fresh });
      // Its dependencies are those that are installed here: the test needs no network.
      for (const dependency of [
        "socket.io",
        "@nats-io",
        "socket.io-adapter",
        "socket.io-parser",
        "engine.io",
        "@types",
        "undici-types",
      ]) {
        symlinkSync(join(folder, "node_modules", dependency), join(fresh, "node_modules", dependency));
      }
      const manifest = JSON.parse(readFileSync(join(fresh, "node_modules/partyline/package.json")));
      assert.deepEqual(Object.keys(manifest.dependencies).sort(), ["@nats-io/transport-node", "socket.io"]);
      assert.equal(manifest.private, true);
      assert.equal(manifest.scripts.postinstall, undefined);
      writeFileSync(join(fresh, "program.mts"), program);
      writeFileSync(join(fresh, "program.cts"), program);
      for (const resolution of ["NodeNext"]) {
        execFileSync(
          process.execPath,
          [
            join(folder, "node_modules/typescript/bin/tsc"),
            "--strict",
            "--noEmit",
            "--target",
            "ES2022",
            "--module",
            resolution,
            "--types",
            "node",
            "program.mts",
            "program.cts",
          ],
          { cwd: fresh, encoding: "utf8", stdio: "pipe" },
        );
      }
      const names = "Server.name + Namespace.name + Socket.name";
      const options = { cwd: fresh, encoding: "utf8" };
      assert.equal(
        execFileSync(
          process.execPath,
          [
            "--input-type=module",
            "-e",
            `import { Server, Namespace, Socket } from "partyline"; console.log(${names})`,
          ],
          options,
        ).trim(),
        "ServerNamespaceSocket",
      );
      assert.equal(
        execFileSync(
          process.execPath,
          ["-e", `const { Server, Namespace, Socket } = require("partyline"); console.log(${names})`],
          options,
        ).trim(),
        "ServerNamespaceSocket",
      );
    } catch (error) {
      throw error.stdout ? new Error(error.stdout + error.stderr) : error;
    } finally {
      rmSync(fresh, { recursive: true });
    }
  },
);
