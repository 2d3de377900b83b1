// What is published in one place keeps its order, also across joins that edges have not confirmed yet.
import assert from "node:assert/strict";
import { got, scene, until, within } from "./stage.mjs";

scene("an async handler that joins and emits reaches the joined socket, on two edges", async (stage) => {
  const first = await stage.embedded();
  const second = await stage.edge(first.nats);
  const io = await stage.server(first.nats, (server) =>
    server.on("connection", (socket) => {
      socket.on("enter", async (room) => {
        await new Promise((resolve) => setImmediate(resolve));
        socket.join(room);
        server.to(room).emit("news", room, 1);
        server.to(room).emit("news", room, 2);
        await new Promise((resolve) => setImmediate(resolve));
        server.to(room).emit("news", room, 3);
        socket.leave(room);
        server.to(room).emit("news", room, "after leaving");
        socket.emit("end", room);
      });
    }),
  );
  await until("both edges", () => io.of("/").adapter.hub.instance.edges.names.length === 2);
  const clients = [];
  const each = 40;
  for (let i = 0; i < each; i++) {
    clients.push(await stage.connected([first, second][i % 2].url));
  }
  // Ten rooms a client make 400 joins.
  const results = clients.map((client, i) =>
    within(
      "all ends",
      new Promise((resolve) => {
        const seen = new Map();
        let ends = 0;
        client.on("news", (room, n) => seen.set(room, [...(seen.get(room) ?? []), n]));
        client.on("end", () => ++ends === 10 && resolve(seen));
        for (let r = 0; r < 10; r++) {
          client.emit("enter", `room ${i} ${r}`);
        }
      }),
    ),
  );
  for (const seen of await Promise.all(results)) {
    assert.equal(seen.size, 10);
    seen.forEach((list, room) => assert.deepEqual(list, [1, 2, 3], room));
  }
  const slow = /does not keep up/; // 400 clients in the same tick may be too much for a slow machine
  assert.deepEqual(stage.complaints.filter((text) => !slow.test(text)), []);
});

scene("what the connection handler does in its tick is part of the admission", async (stage) => {
  const edge = await stage.embedded();
  const io = await stage.server(edge.nats, (server) => {
    server.on("connection", (socket) => {
      server.to("r").emit("news", "before joining");
      socket.join(["r", "fresh"]);
      server.to("r").emit("news", "after joining");
      server.to("fresh").emit("news", "to a new room");
      socket.data.name = "ann";
      socket.emit("last");
    });
    server.of("/out").on("connection", (socket) => {
      socket.emit("bye");
      socket.disconnect();
    });
    server.of("/out/at/once").on("connection", (socket) => {
      socket.disconnect();
      socket.join("never");
    });
    server.of("/awaiting").on("connection", async (socket) => {
      await socket.join("r");
      socket.emit("joined");
    });
  });
  const client = stage.client(edge.url);
  const seen = [];
  client.onAny((...values) => seen.push(values));
  await got(client, "last");
  assert.deepEqual(seen, [["news", "after joining"], ["news", "to a new room"], ["last"]]);
  assert.deepEqual(
    (await io.in("r").fetchSockets()).map((socket) => socket.data),
    [{ name: "ann" }],
  );

  const out = stage.client(edge.url, "/out");
  const order = [];
  out.on("connect", () => order.push("connect"));
  out.on("bye", () => order.push("bye"));
  assert.deepEqual(await got(out, "disconnect"), ["io server disconnect", undefined]);
  assert.deepEqual(order, ["connect", "bye"]);
  const atOnce = stage.client(edge.url, "/out/at/once");
  assert.deepEqual(await got(atOnce, "disconnect"), ["io server disconnect", undefined]);
  assert.equal(io.of("/out/at/once").adapter.rooms.size, 0);
  await got(stage.client(edge.url, "/awaiting"), "joined");
  assert.deepEqual(stage.complaints, []);
});

scene("rooms that others change are mirrored, and rooms with any name work", async (stage) => {
  const edge = await stage.embedded();
  const io = await stage.server(edge.nats);
  const connection = got(io, "connection");
  const client = await stage.connected(edge.url);
  const [socket] = await connection;
  for (const room of [7, "a b.c..", "x".repeat(600), "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r"]) {
    const created = got(io.of("/").adapter, "join-room");
    await socket.join(room);
    assert.deepEqual(await created, [String(room), socket.id]);
    assert.ok(socket.rooms.has(String(room)));
    const news = got(client, "news");
    io.to(room).emit("news", room);
    assert.deepEqual(await news, [room]);
    assert.equal((await io.in(room).fetchSockets()).length, 1);
    await socket.leave(room);
    assert.ok(!socket.rooms.has(String(room)));
  }
  const hub = io.of("/").adapter.hub;
  hub.link.publish(hub.subjects.toSocket("_", "join", socket.id), '["by another","x"]');
  await until("the mirror", () => socket.rooms.has("by another"));
  await Promise.all([socket.leave("x"), socket.join("y")]);
  hub.link.publish(hub.subjects.toSocket("_", "leave", socket.id), '["by another"]');
  await until("the mirror", () => !socket.rooms.has("by another"));
  assert.deepEqual([...socket.rooms].sort(), [socket.id, "y"].sort());
  hub.link.publish(hub.subjects.toSocket("_", "data", socket.id), '[{"set":"by another"}]');
  await until("the data", () => socket.data.set === "by another");
  socket.leaveAll();
  await until("no rooms", async () => (await io.in("y").fetchSockets()).length === 0);
  assert.deepEqual(stage.complaints, []);
});
