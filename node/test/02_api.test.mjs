// The server's API, each part with clients on two edges and two instances.
import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { got, scene, until, within } from "./stage.mjs";

// two starts two edges, and two instances with the same set-up.
async function two(stage, setUp) {
  const first = await stage.embedded();
  const second = await stage.edge(first.nats);
  const a = await stage.server(first.nats, setUp);
  const b = await stage.server(first.nats, setUp);
  await until(
    "the instances know each other",
    async () => (await a.of("/").adapter.serverCount()) === 2 && (await b.of("/").adapter.serverCount()) === 2,
  );
  return { edges: [first, second], servers: [a, b] };
}

// crowd connects clients on both edges until each instance owns some.
async function crowd(stage, { edges, servers }, namespace = "/", options) {
  const clients = [];
  while (clients.length < 6 || servers.some((server) => server.of(namespace).sockets.size === 0)) {
    clients.push(await stage.connected(edges[clients.length % 2].url, namespace, options));
  }
  return clients;
}

function collect(clients, event) {
  const found = [];
  clients.forEach((client) => client.on(event, (...values) => found.push([client.id, ...values])));
  return found;
}

scene("broadcasts reach the sockets of all instances on all edges", async (stage) => {
  const all = await two(stage, (io) =>
    io.on("connection", (socket) => {
      socket.on("join", (room, done) => {
        socket.join(room);
        done();
      });
      socket.on("all but me", () => socket.broadcast.emit("news", "all but me"));
      socket.on("room but me", (room) => socket.to(room).emit("news", "room but me"));
    }),
  );
  const clients = await crowd(stage, all);
  const [one] = all.servers;
  const ids = clients.map((client) => client.id);
  const seen = collect(clients, "news");
  const next = async (count) => {
    await until(`${count} events`, () => seen.length >= count);
    return seen
      .splice(0)
      .map(([id]) => id)
      .sort();
  };

  one.emit("news", 1);
  assert.deepEqual(await next(ids.length), [...ids].sort());
  one.except(ids[0]).emit("news", 1);
  assert.deepEqual(await next(ids.length - 1), ids.slice(1).sort());
  one.to([ids[0], ids[1]]).emit("news", 1);
  assert.deepEqual(await next(2), ids.slice(0, 2).sort());
  clients[0].emit("all but me");
  assert.deepEqual(await next(ids.length - 1), ids.slice(1).sort());
  for (const client of clients.slice(0, 3)) {
    await client.timeout(5000).emitWithAck("join", "r");
  }
  clients[0].emit("room but me", "r");
  assert.deepEqual(await next(2), ids.slice(1, 3).sort());
  one.to("r").except(ids[1]).emit("news", 1);
  assert.deepEqual(await next(2), [ids[0], ids[2]].sort());

  one.in("r").socketsJoin("s");
  one.to("s").emit("news", 1);
  assert.deepEqual(await next(3), ids.slice(0, 3).sort());
  one.in(ids[0]).socketsLeave("s");
  one.to("s").emit("news", 1);
  assert.deepEqual(await next(2), ids.slice(1, 3).sort());
  assert.deepEqual([...(await one.in("s").allSockets())].sort(), ids.slice(1, 3).sort());

  const own = [...one.sockets.sockets.keys()];
  one.local.emit("news", 1);
  assert.deepEqual(await next(own.length), own.sort());
  assert.deepEqual((await one.local.fetchSockets()).map((s) => s.id).sort(), own);
  assert.deepEqual(stage.complaints, []);
});

scene("broadcasts with acks, fetchSockets, serverSideEmit, disconnectSockets", async (stage) => {
  const all = await two(stage, (io) =>
    io.on("connection", (socket) => {
      socket.data.name = socket.handshake.auth.name;
      socket.join(["r", socket.id + "'s"]);
    }),
  );
  const [a, b] = all.servers;
  const clients = await crowd(stage, all, "/", { auth: { name: "ann" } });
  const ids = clients.map((client) => client.id).sort();
  clients.forEach((client) => client.on("who?", (n, done) => done(`${client.id} ${n}`)));
  assert.deepEqual(
    (await a.timeout(5000).emitWithAck("who?", 1)).sort(),
    ids.map((id) => `${id} 1`),
  );
  assert.deepEqual(
    (await a.to("r").timeout(5000).emitWithAck("who?", 2)).sort(),
    ids.map((id) => `${id} 2`),
  );
  assert.deepEqual(await a.to("nobody").timeout(5000).emitWithAck("who?", 2), []);
  clients[0].off("who?");
  await assert.rejects(a.timeout(300).emitWithAck("who?", 1), (error) => error.responses.length === ids.length - 1);

  const sockets = await b.fetchSockets();
  assert.deepEqual(sockets.map((socket) => socket.id).sort(), ids);
  for (const socket of sockets) {
    assert.equal(socket.data.name, "ann");
    assert.deepEqual([...socket.rooms].sort(), [socket.id, "r", socket.id + "'s"].sort());
    assert.equal(socket.handshake.auth.name, "ann");
    assert.equal(typeof socket.handshake.issued, "number");
    assert.equal(b.sockets.sockets.get(socket.id) ?? socket, socket);
  }
  const remote = sockets.find((socket) => !b.sockets.sockets.has(socket.id));
  const client = clients.find((c) => c.id === remote.id);
  if (client !== clients[0]) {
    assert.equal(await remote.timeout(5000).emitWithAck("who?", 3), `${remote.id} 3`);
  }
  remote.join("joined");
  await until("the owner knows", () => a.sockets.sockets.get(remote.id).rooms.has("joined"));
  a.sockets.sockets.get(remote.id).data.later = 1;
  await until("others see data", async () => (await b.in(remote.id).fetchSockets())[0].data.later === 1);

  b.on("hello", (text, answer) => answer(text + "!"));
  assert.deepEqual(await a.serverSideEmitWithAck("hello", "world"), ["world!"]);
  const heard = new Promise((resolve) => b.once("plain", (...values) => resolve(values)));
  a.serverSideEmit("plain", 1, { two: 2 });
  assert.deepEqual(await within("plain", heard), [1, { two: 2 }]);

  const gone = Promise.all(clients.map((c) => got(c, "disconnect")));
  a.disconnectSockets();
  assert.deepEqual(
    (await gone).map(([reason]) => reason),
    clients.map(() => "io server disconnect"),
  );
  await until("no socket is left", () => a.sockets.sockets.size + b.sockets.sockets.size === 0);
  assert.deepEqual(stage.complaints, []);
});

scene("middlewares, namespaces, refusals", async (stage) => {
  const edge = await stage.embedded();
  const io = await stage.server(edge.nats, (server) => {
    server.of("/guarded").use(async (socket, next) => {
      await new Promise((resolve) => setImmediate(resolve));
      if (socket.handshake.auth.token === "open sesame") {
        socket.join("early");
        socket.data.user = "ann";
        return next();
      }
      const error = new Error("wrong\ntoken");
      error.data = { code: 401 };
      next(error);
    });
    server.of("/guarded").on("connection", (socket) => socket.emit("rooms", [...socket.rooms], socket.data));
    server.of(/^\/dynamic-\d+$/).on("connection", (socket) => socket.emit("namespace", socket.nsp.name));
    server.on("connection", (socket) => {
      socket.use(([event], next) => next(event === "bad" ? new Error("bad event") : undefined));
      socket.on("error", (error) => socket.emit("refused", error.message));
      socket.onAny((event) => socket.emit("any", event));
    });
  });
  const refused = stage.client(edge.url, "/guarded", { auth: { token: "x" } });
  const [error] = await got(refused, "connect_error");
  assert.equal(error.message, "wrong\ntoken");
  assert.deepEqual(error.data, { code: 401 });
  const ann = stage.client(edge.url, "/guarded", { auth: { token: "open sesame" } });
  assert.deepEqual(await got(ann, "rooms"), [["early", ann.id], { user: "ann" }]);
  const dynamic = stage.client(edge.url, "/dynamic-7");
  assert.deepEqual(await got(dynamic, "namespace"), ["/dynamic-7"]);
  const unknown = stage.client(edge.url, "/unknown");
  assert.equal((await got(unknown, "connect_error"))[0].message, "Invalid namespace");
  const bob = await stage.connected(edge.url);
  const said = got(bob, "refused");
  const any = got(bob, "any");
  bob.emit("bad");
  assert.deepEqual(await said, ["bad event"]);
  assert.deepEqual(await any, ["bad"]);
  assert.equal(io.engine.clientsCount, 3);
});

scene("the ends of sockets have the reference's reasons", async (stage) => {
  const edge = await stage.embedded();
  const io = await stage.server(edge.nats);
  const end = async (finish) => {
    const connection = got(io, "connection");
    const client = await stage.connected(edge.url, "/", { reconnection: false });
    const [socket] = await connection;
    const told = [];
    socket.join("r");
    socket.on("disconnecting", (reason) => told.push("disconnecting", reason, [...socket.rooms].length));
    const gone = got(socket, "disconnect");
    await finish(socket, client);
    const [reason] = await gone;
    assert.deepEqual(told, ["disconnecting", reason, 2]);
    assert.equal(socket.rooms.size, 0);
    return [reason, client];
  };
  assert.equal((await end((_, client) => client.disconnect()))[0], "client namespace disconnect");
  assert.equal((await end((_, client) => client.io.engine.close()))[0], "transport close");
  assert.equal((await end((socket) => socket.disconnect()))[0], "server namespace disconnect");
  let left;
  assert.equal(
    (
      await end((socket, client) => {
        left = got(client, "disconnect");
        socket.disconnect(true);
      })
    )[0],
    "server namespace disconnect",
  );
  assert.equal((await left)[0], "io server disconnect");
  assert.equal(
    (
      await end((socket, client) => {
        left = got(client, "disconnect");
        socket.conn.close();
      })
    )[0],
    "forced close",
  );
  assert.equal((await left)[0], "transport close");
});

scene("a program that serves some namespaces leaves the others to another one", async (stage) => {
  const edge = await stage.embedded();
  const greet = (name) => (io) => io.of(name).on("connection", (socket) => socket.emit("served by", name));
  await stage.server(edge.nats, greet("/a"), { group: "a", namespaces: ["/a"] });
  await stage.server(edge.nats, greet("/b/c"), { group: "b", namespaces: ["/b/*"] });
  assert.deepEqual(await got(stage.client(edge.url, "/a"), "served by"), ["/a"]);
  assert.deepEqual(await got(stage.client(edge.url, "/b/c"), "served by"), ["/b/c"]);
  assert.deepEqual(stage.complaints, []);
});

scene("no event has a reply subject, and the sender is left out by a header", async (stage) => {
  const edge = await stage.embedded();
  const nats = await connect({ servers: edge.nats });
  stage.later(() => nats.close());
  const heard = [];
  const hear = (_, m) => heard.push([m.subject, m.reply, m.headers?.values("Sio-Except") ?? []]);
  nats.subscribe("sio._.emit.>", { callback: hear });
  nats.subscribe("sio._.broadcast.>", { callback: hear });
  await nats.flush();
  await stage.server(edge.nats, (io) =>
    io.on("connection", (socket) => {
      socket.broadcast.emit("x");
      socket.to("r").emit("x");
      io.except("s").to("r").emit("x");
      socket.emit("x");
    }),
  );
  const { id } = await stage.connected(edge.url);
  const mine = () => heard.filter(([subject]) => !subject.includes("checkpoint"));
  await until("all events", () => mine().length === 4);
  assert.deepEqual(mine(), [
    ["sio._.emit.all", "", [id]],
    ["sio._.emit.room.r", "", [id]],
    ["sio._.emit.room.r", "", ["s"]],
    [`sio._.emit.socket.${id}`, "", []],
  ]);
});
