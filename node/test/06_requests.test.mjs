// The session's request, middlewares of io.engine, and several namespaces of one session.
import assert from "node:assert/strict";
import express from "express";
import expressSession from "express-session";
import { got, scene, until, within } from "./stage.mjs";

scene("express-session works with io.engine.use", async (stage) => {
  const edge = await stage.embedded();
  const middleware = expressSession({ secret: "secret", resave: false, saveUninitialized: true });
  const app = express();
  app.use(middleware);
  app.get("/login", (req, res) => {
    req.session.user = "ann";
    res.end("ok");
  });
  const http = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => http.once("listening", resolve));
  const response = await fetch(`http://127.0.0.1:${http.address().port}/login`);
  const [cookie] = response.headers.get("set-cookie").split(";");

  const io = await stage.server(edge.nats, (server) => {
    server.attach(http);
    server.engine.use(middleware);
    server.on("connection", (socket) => {
      socket.emit("user", socket.request.session.user);
      socket.on("count", (done) => {
        const { session } = socket.request;
        session.reload((error) => {
          assert.ifError(error);
          socket.request.session.count = (socket.request.session.count ?? 0) + 1;
          socket.request.session.save(() => done(socket.request.session.count));
        });
      });
    });
  });
  const ann = stage.client(edge.url, "/", { extraHeaders: { cookie } });
  assert.deepEqual(await got(ann, "user"), ["ann"]);
  assert.equal(await ann.timeout(5000).emitWithAck("count"), 1);
  assert.equal(await ann.timeout(5000).emitWithAck("count"), 2);
  const stranger = stage.client(edge.url, "/");
  assert.deepEqual(await got(stranger, "user"), [null]);
  const [socket] = io.sockets.sockets.values();
  assert.equal(socket.request.headers.cookie, cookie);
  assert.equal(socket.request.url, socket.handshake.url);
  assert.equal(socket.request._query.EIO, "4");
  assert.equal(socket.conn.remoteAddress, "127.0.0.1");
});

scene("allowRequest and a middleware of io.engine refuse", async (stage) => {
  const edge = await stage.embedded();
  const io = await stage.server(
    edge.nats,
    (server) => {
      server.engine.use((req, res, next) => next(req._query.bad ? new Error("bad query") : undefined));
    },
    { allowRequest: (req, done) => done(null, req._query.token === "yes") },
  );
  const refused = stage.client(edge.url, "/");
  assert.equal((await got(refused, "connect_error"))[0].message, "Forbidden");
  const bad = stage.client(edge.url, "/", { query: { token: "yes", bad: "1" } });
  assert.equal((await got(bad, "connect_error"))[0].message, "bad query");
  await stage.connected(edge.url, "/", { query: { token: "yes" } });
  assert.equal(io.engine.clientsCount, 1);
});

scene("the sockets of a session share one client", async (stage) => {
  const edge = await stage.embedded();
  const io = await stage.server(edge.nats, (server) => {
    server.on("connection", () => {});
    server.of("/two").on("connection", (socket) => socket.on("out", () => socket.disconnect(true)));
  });
  const one = await stage.connected(edge.url, "/", { forceNew: true });
  const two = one.io.socket("/two");
  await got(two, "connect");
  const [first] = io.sockets.sockets.values();
  const [second] = io.of("/two").sockets.values();
  assert.equal(first.client, second.client);
  assert.equal(first.conn, second.conn);
  assert.equal(io.engine.clientsCount, 1);
  const gone = Promise.all([got(first, "disconnect"), got(second, "disconnect")]);
  const left = Promise.all([got(one, "disconnect"), got(two, "disconnect")]);
  two.emit("out");
  assert.deepEqual(
    (await gone).map(([reason]) => reason),
    ["server namespace disconnect", "server namespace disconnect"],
  );
  assert.deepEqual(
    (await left).map(([reason]) => reason),
    ["io server disconnect", "io server disconnect"],
  );
  await until("no session is left", () => io.engine.clientsCount === 0);
});

scene("leaving one namespace leaves the others", async (stage) => {
  const edge = await stage.embedded();
  const io = await stage.server(edge.nats, (server) =>
    server.of("/two").on("connection", (s) => s.on("echo", (v, ack) => ack(v))),
  );
  const one = await stage.connected(edge.url);
  const two = one.io.socket("/two");
  await got(two, "connect");
  const [first] = io.sockets.sockets.values();
  const [second] = io.of("/two").sockets.values();
  const gone = got(first, "disconnect");
  one.disconnect();
  assert.equal((await gone)[0], "client namespace disconnect");
  assert.equal(await two.timeout(5000).emitWithAck("echo", 1), 1);
  const again = got(one, "connect");
  one.connect();
  await again;
  const ended = got(second, "disconnect");
  one.io.engine.close();
  assert.equal((await ended)[0], "transport close");
});

scene("socket.conn has the session's transport, and an upgrade is told", async (stage) => {
  const edge = await stage.embedded();
  const io = await stage.server(edge.nats);
  const connection = got(io, "connection");
  await stage.connected(edge.url, "/", { transports: ["polling"] });
  assert.equal((await connection)[0].conn.transport.name, "polling");
  const upgraded = within(
    "upgrade",
    new Promise((resolve) =>
      io.once("connection", ({ conn }) => {
        conn.upgraded ? resolve(conn.transport.name) : conn.once("upgrade", (transport) => resolve(transport.name));
      }),
    ),
  );
  await stage.connected(edge.url, "/", { transports: ["polling", "websocket"] });
  assert.equal(await upgraded, "websocket");
});

scene("socket.conn tells which packets are sent", async (stage) => {
  const edge = await stage.embedded();
  const io = await stage.server(edge.nats);
  const connection = got(io, "connection");
  await stage.connected(edge.url);
  const [socket] = await connection;
  const seen = [];
  socket.conn.on("packetCreate", ({ type, options }) => seen.push([type, options.compress]));
  socket.emit("one");
  socket.compress(false).emit("two");
  io.compress(false).emit("three");
  io.emit("four");
  assert.deepEqual(seen, [
    ["message", true],
    ["message", false],
    ["message", false],
    ["message", true],
  ]);
});
