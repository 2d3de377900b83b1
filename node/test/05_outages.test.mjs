// NATS, edges and the server itself go away.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import net from "node:net";
import { got, scene, until, within } from "./stage.mjs";

// detour is a port in front of NATS that can be cut off.
async function detour(stage, nats) {
  const { hostname, port } = new URL(nats);
  let isOpen = true;
  const sockets = new Set();
  const server = net.createServer((socket) => {
    if (!isOpen) {
      socket.destroy();
      return;
    }
    const to = net.connect(Number(port), hostname);
    for (const [one, other] of [
      [socket, to],
      [to, socket],
    ]) {
      sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        other.destroy();
        sockets.delete(one);
      });
      one.pipe(other);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  stage.later(() => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  });
  return {
    url: `nats://127.0.0.1:${server.address().port}`,
    cut() {
      isOpen = false;
      sockets.forEach((socket) => socket.destroy());
    },
    heal() {
      isOpen = true;
    },
  };
}

scene("an instance that is cut off from NATS gives up its sockets, and gets them again", async (stage) => {
  const edge = await stage.embedded();
  const way = await detour(stage, edge.nats);
  const io = await stage.server(way.url, (server) =>
    server.on("connection", (socket) => {
      socket.join("r");
      socket.on("echo", (value, ack) => ack(value, socket.recovered));
    }),
  );
  const client = await stage.connected(edge.url);
  client.on("disconnect", () => assert.fail("the client is disconnected"));
  const name = io.instance;
  const [socket] = io.sockets.sockets.values();
  const gone = got(socket, "disconnect");
  const failed = got(io.engine, "publish_error");
  way.cut();
  await until("the connection is lost", () => !io.of("/").adapter.hub.link.connected);
  io.emit("news"); // fails at once, and is not sent later
  assert.equal((await failed)[0].code, "OFFLINE");
  await assert.rejects(io.fetchSockets(), { code: "OFFLINE" });
  await assert.rejects(socket.emitWithAck("question"), { code: "OFFLINE" });
  await assert.rejects(socket.timeout(60_000).emitWithAck("question"), { code: "OFFLINE" });
  assert.equal((await new Promise((resolve) => socket.timeout(60_000).emit("question", resolve))).code, "OFFLINE");
  await assert.rejects(
    io
      .serverSideEmitWithAck("x")
      .then((list) => list.length || Promise.reject(Object.assign(new Error(), { code: "OFFLINE" }))),
    { code: "OFFLINE" },
  );
  await assert.rejects(async () => socket.join("other"), { code: "OFFLINE" });
  assert.deepEqual(await gone, ["transport close", undefined]);
  client.on("news", () => assert.fail("an event of the outage was sent"));
  way.heal();
  await until("it has the socket again", () => io.sockets.sockets.size === 1);
  assert.notEqual(io.instance, name);
  const [value, recovered] = await within(
    "echo",
    new Promise((resolve) => client.emit("echo", 1, (...values) => resolve(values))),
  );
  assert.deepEqual([value, recovered], [1, true]);
  const news = got(client, "after");
  io.to("r").emit("after", 1);
  assert.deepEqual(await news, [1]);
});

scene("NATS is restarted: clients stay, and all is healed", async (stage) => {
  const first = await stage.embedded();
  const { port } = new URL(first.nats);
  const second = await stage.edge(first.nats);
  const io = await stage.server(first.nats, (server) =>
    server.on("connection", (socket) => {
      socket.join("r");
      socket.on("echo", (value, ack) => ack(value));
    }),
  );
  const clients = await Promise.all(Array.from({ length: 10 }, () => stage.connected(second.url)));
  const ends = [];
  clients.forEach((client) => client.on("disconnect", (reason) => ends.push(reason)));
  await first.end("SIGKILL");
  await until("the sockets are given up", () => io.sockets.sockets.size === 0);
  await stage.embedded([`--embedded.listen=127.0.0.1:${port}`]);
  await until("it has them again", () => io.sockets.sockets.size === clients.length);
  assert.deepEqual(
    await Promise.all(clients.map((client, i) => client.timeout(10_000).emitWithAck("echo", i))),
    clients.map((_, i) => i),
  );
  const heard = Promise.all(clients.map((client) => got(client, "news")));
  io.to("r").emit("news", 1);
  await heard;
  assert.deepEqual(ends, []);
});

scene("onOffline: throw makes a plain emit throw while NATS is away", async (stage) => {
  const edge = await stage.embedded();
  const way = await detour(stage, edge.nats);
  const io = await stage.server(way.url, () => {}, { onOffline: "throw" });
  way.cut();
  await until("the connection is lost", () => !io.of("/").adapter.hub.link.connected);
  assert.throws(() => io.emit("news"), { code: "OFFLINE" });
});

scene("an edge that dies ends its sockets", async (stage) => {
  const first = await stage.embedded();
  const second = await stage.edge(first.nats);
  const io = await stage.server(first.nats);
  const connection = got(io, "connection");
  stage.client(second.url, "/", { reconnection: false });
  const [socket] = await connection;
  const gone = got(socket, "disconnect");
  await second.end("SIGKILL");
  assert.deepEqual(await gone, ["transport close", undefined]);
  await until("the edge is forgotten", () => io.of("/").adapter.hub.instance.edges.names.length === 1);
});

// frozen stops an edge for some time.
async function frozen(edge, milliseconds) {
  edge.child.kill("SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  edge.child.kill("SIGCONT");
}

scene("an edge that did not run for a while keeps its sockets, or gets them again", async (stage) => {
  const first = await stage.embedded();
  const second = await stage.edge(first.nats);
  const ends = [];
  const io = await stage.server(first.nats, (server) =>
    server.on("connection", (socket) => {
      socket.join("first");
      socket.on("swap", (done) => {
        socket.leave("first");
        socket.join("second");
        socket.data.swapped = true;
        done();
      });
      socket.on("echo", (value, ack) => ack(value, [...socket.rooms].sort(), socket.data, socket.recovered));
      socket.on("disconnect", (reason) => ends.push(reason));
    }),
  );
  const client = await stage.connected(second.url);
  const lost = [];
  client.on("disconnect", (reason) => lost.push(reason));
  await client.timeout(5000).emitWithAck("swap");
  const echo = () => within("echo", new Promise((resolve) => client.emit("echo", 1, (...values) => resolve(values))));
  const rooms = [client.id, "second"].sort();

  await frozen(second, 2500); // it asks again who owns the socket
  assert.deepEqual(await echo(), [1, rooms, { swapped: true }, false]);
  await until("the edge's view", async () => (await io.in("second").fetchSockets()).length === 1);
  assert.deepEqual((await io.in("first").fetchSockets()).length, 0);
  assert.deepEqual(ends, []);

  await frozen(second, 5000); // it was taken for dead
  await until("it was given up", () => ends.length === 1);
  await until("it is owned again", () => io.sockets.sockets.size === 1);
  const [value, now, data, recovered] = await echo();
  assert.deepEqual([value, data, recovered], [1, { swapped: true }, true]);
  assert.deepEqual(now, [client.id, "first", "second"].sort()); // the handler has joined it again
  assert.deepEqual([ends, lost], [["transport close"], []]);
});

scene("close ends clients' connections, and they come back to another instance", async (stage) => {
  const edge = await stage.embedded();
  const http = createServer();
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  const io = await stage.server(edge.nats);
  io.attach(http);
  const client = await stage.connected(edge.url);
  const [socket] = io.sockets.sockets.values();
  const left = got(client, "disconnect");
  const gone = got(socket, "disconnect");
  await within("close", io.close());
  assert.deepEqual(await gone, ["server shutting down", undefined]);
  assert.equal((await left)[0], "transport close");
  assert.equal(http.listening, false);
  const back = got(client, "connect");
  const other = await stage.server(edge.nats);
  await back;
  assert.equal(other.engine.clientsCount, 1);
});

scene("leave hands sockets over without a disconnect, and without another instance they wait", async (stage) => {
  const edge = await stage.embedded();
  const io = await stage.server(edge.nats, (server) =>
    server.on("connection", (socket) => {
      socket.join("r");
      socket.on("disconnect", () => assert.fail("disconnect in a handover"));
    }),
  );
  const client = await stage.connected(edge.url);
  client.on("disconnect", () => assert.fail("the client is disconnected"));
  const handover = got(io.engine, "handover");
  await io.leave();
  const [socket, reason] = await handover;
  assert.equal(socket.id, client.id);
  assert.equal(reason, "leaving");
  assert.equal(io.sockets.sockets.size, 0);
  const echoed = within("echo", new Promise((resolve) => client.emit("echo", 1, resolve)));
  const other = await stage.server(edge.nats, (server) =>
    server.on("connection", (s) => s.on("echo", (value, ack) => ack(value))),
  );
  await until("taken over", () => other.sockets.sockets.size === 1);
  assert.ok([...other.sockets.sockets.values()][0].recovered);
  assert.equal(await echoed, 1);
  client.off("disconnect");
});
