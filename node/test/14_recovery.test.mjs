// Clients that come back, behind real edges: nothing is missed, doubled or out of order.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { got, scene, until } from "./stage.mjs";

const recovery = { PARTYLINE_NAMESPACES: JSON.stringify({ "/*": { connect: "service", recovery: { for: "1m" } } }) };

/** begin starts NATS with JetStream, and an edge. */
async function begin(stage) {
  const folder = mkdtempSync(join(tmpdir(), "recovery-"));
  stage.later(() => rmSync(folder, { recursive: true, force: true }));
  return stage.embedded([`--embedded.jetstream.dir=${folder}`], recovery);
}

/** door is an address behind which one edge stands, and later another one. */
async function door(stage, edge) {
  const open = new Set();
  const server = createServer((client) => {
    const { hostname, port } = new URL(door.edge.url);
    const behind = connect(port, hostname);
    for (const [one, other] of [
      [client, behind],
      [behind, client],
    ]) {
      open.add(one);
      one.on("error", () => {}).on("close", () => (open.delete(one), other.destroy()));
      one.pipe(other);
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  stage.later(() => {
    open.forEach((one) => one.destroy());
    server.close();
  });
  const door = { edge, url: `http://127.0.0.1:${server.address().port}` };
  return door;
}

/** Source emits numbers to all, to a room, and to each socket that was ever there, until it is stopped. */
class Source {
  count = 0;
  connections = [];
  ends = [];
  #sockets = [];

  constructor(io) {
    io.on("connection", (socket) => {
      this.connections.push([socket.recovered, [...socket.rooms].sort(), socket.data]);
      socket.on("disconnect", (reason) => this.ends.push(reason));
      if (!socket.recovered) {
        this.#sockets.push(socket); // also while its client is away
        socket.join("room");
        socket.data = { n: 1 };
      }
    });
    this.timer = setInterval(() => {
      const n = ++this.count;
      io.emit("n", "all", n);
      io.to("room").emit("n", "room", n);
      this.#sockets.forEach((socket) => socket.emit("n", "socket", n));
    }, 5);
  }
}

/** numbers collects what a client gets. */
function numbers(client) {
  const seen = { all: [], room: [], socket: [] };
  client.on("n", (kind, n) => seen[kind].push(n));
  return seen;
}

async function misses(source, seen) {
  clearInterval(source.timer);
  const kinds = Object.values(seen);
  await until("the last numbers", () => kinds.every((list) => list.at(-1) === source.count));
  for (const list of kinds) {
    const wanted = Array.from({ length: list.length }, (_, i) => list[0] + i);
    assert.deepEqual(list, wanted);
  }
}

scene("a client whose edge is killed comes back to another one, and misses nothing", async (stage) => {
  const nats = await begin(stage);
  const first = await stage.edge(nats.nats, [], recovery);
  const second = await stage.edge(nats.nats, [], recovery);
  let source;
  await stage.server(nats.nats, (io) => (source = new Source(io)));
  stage.later(() => clearInterval(source.timer));
  const front = await door(stage, first);
  const client = await stage.connected(front.url);
  const { id } = client;
  const seen = numbers(client);
  await until("some numbers", () => seen.socket.length > 20 && seen.room.length > 20);
  front.edge = second;
  await first.end("SIGKILL");
  await got(client, "connect");
  assert.equal(client.recovered, true);
  assert.equal(client.id, id);
  const before = source.count;
  await until("more numbers", () => source.count > before + 50);
  await misses(source, seen);
  assert.deepEqual(source.connections, [
    [false, [id], {}],
    [true, [id, "room"].sort(), { n: 1 }],
  ]);
  assert.deepEqual(source.ends, ["transport close"]);
});

scene("a client whose connection breaks again and again misses nothing", async (stage) => {
  const edge = await begin(stage);
  let source;
  await stage.server(edge.nats, (io) => (source = new Source(io)));
  stage.later(() => clearInterval(source.timer));
  const client = await stage.connected(edge.url);
  const { id } = client;
  const seen = numbers(client);
  for (let i = 1; i <= 10; i++) {
    const before = seen.room.length;
    await until("some numbers", () => seen.room.length > before + 5);
    client.io.engine.close();
    await got(client, "connect");
    assert.equal(client.recovered, true);
    assert.equal(client.id, id);
    await until("the server has it back", () => source.connections.length === 1 + i && source.ends.length === i);
  }
  await misses(source, seen);
  assert.ok(source.connections.slice(1).every(([recovered]) => recovered));
});

scene("a socket that has moved to another edge can be asked, joined, handed over and found", async (stage) => {
  const nats = await begin(stage);
  const first = await stage.edge(nats.nats, [], recovery);
  const second = await stage.edge(nats.nats, [], recovery);
  const heard = [];
  const setUp = (io) =>
    io.on("connection", (socket) => {
      heard.push(`connection ${socket.recovered}`);
      socket.on("disconnect", (reason) => heard.push(reason));
      socket.on("echo", (_value, done) => done(io.instance));
    });
  const a = await stage.server(nats.nats, setUp);
  const front = await door(stage, first);
  const client = await stage.connected(front.url);
  client.on("ask", (value, done) => done(value));
  const { id } = client;
  front.edge = second;
  await first.end("SIGKILL");
  await got(client, "connect");
  assert.equal(client.recovered, true);
  await until("the server has it back", () => heard.length === 3);

  const b = await stage.server(nats.nats, setUp);
  const usable = async (io, owner) => {
    await owner.sockets.sockets.get(id).join(`room of ${owner.instance}`);
    const [found, none] = await io.in(`room of ${owner.instance}`).fetchSockets();
    assert.deepEqual([found.id, none], [id, undefined]);
    const [alone] = await io.in(id).fetchSockets();
    assert.equal(alone.id, id);
    assert.deepEqual(await io.timeout(10_000).to(id).emitWithAck("ask", 7), [7]);
    assert.equal(await client.timeout(10_000).emitWithAck("echo", 8), owner.instance);
  };
  const { edges } = b.of("/").adapter.hub.instance;
  const name = id.split(".")[0];
  await until("the first edge is dead", () => !edges.has(name)); // until then it is asked, too
  await until("also for the other", () => !a.of("/").adapter.hub.instance.edges.has(name));
  await usable(a, a);
  await usable(b, a);
  await a.leave();
  await until("another one owns it", () => b.sockets.sockets.has(id));
  await usable(b, b);
  assert.deepEqual(heard, ["connection false", "transport close", "connection true", "connection true"]);
});
