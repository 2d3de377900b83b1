// The proxy for development: a page's own server passes clients on to an edge.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { got, scene, Server, until, within } from "./stage.mjs";

const express = createRequire(import.meta.url)("express");

async function listening(stage, handler) {
  const http = createServer(handler);
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  stage.later(() => http.close());
  return { http, url: `http://127.0.0.1:${http.address().port}` };
}

// raw sends bytes, and returns all that comes back.
function raw(url, text) {
  const { hostname, port } = new URL(url);
  const socket = connect(port, hostname);
  let back = "";
  socket.on("data", (chunk) => (back += chunk));
  socket.write(text);
  return within("the connection ends", new Promise((resolve) => socket.on("close", () => resolve(back))));
}

const upgrade =
  "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

scene("clients connect to the program's own HTTP server", async (stage) => {
  const edge = await stage.embedded(["--engine.max_payload=3000000"]);
  const app = express();
  app.get("/index.html", (req, res) => res.send("the page"));
  const { http, url } = await listening(stage, app);
  const io = await stage.server(
    edge.nats,
    (server) => server.on("connection", (s) => s.on("echo", (v, ack) => ack(v))),
    { edge: edge.url },
  );
  io.attach(http);
  for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
    // A page sends its origin, which must be that of the address at which it reaches the edge.
    const client = await stage.connected(url, "/", { transports, extraHeaders: { Origin: url } });
    const large = "x".repeat(transports.length > 1 ? 50_000 : 2_000_000); // no limit but the edge's
    assert.equal(await client.timeout(10_000).emitWithAck("echo", large), large);
    client.disconnect();
  }
  assert.equal(await (await fetch(`${url}/index.html`)).text(), "the page");
  assert.match(await raw(url, `GET /elsewhere HTTP/1.1\r\n${upgrade}`), /^HTTP\/1.1 404 /);
  assert.match(
    await raw(url, `GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\n${upgrade}`),
    /^HTTP\/1.1 400 [^]*Unsupported protocol version$/,
  );
  const other = stage.client(url, "/", { extraHeaders: { Origin: "http://other.example" }, reconnection: false });
  await got(other, "connect_error");
  const gone = got(await stage.connected(url), "disconnect");
  await io.close();
  assert.equal((await gone)[0], "transport close");
  assert.equal(http.listening, false);
  assert.deepEqual(stage.complaints, []);
});

scene("a handler sees the address of the client, not that of the proxy", async (stage) => {
  const edge = await stage.embedded(["--trusted_proxies=127.0.0.1"]);
  const { http, url } = await listening(stage);
  let handshake;
  const io = await stage.server(edge.nats, (server) => server.on("connection", (s) => (handshake = s.handshake)), {
    edge: edge.url,
  });
  io.attach(http);
  await stage.connected(url, "/", {
    extraHeaders: {
      "X-Forwarded-For": "192.0.2.7",
      "X-Forwarded-Proto": "https",
      Origin: url.replace("http", "https"),
    },
  });
  assert.equal(handshake.address, "192.0.2.7"); // both proxies are at 127.0.0.1, which the edge trusts
  assert.deepEqual(
    [handshake.secure, handshake.headers["x-forwarded-for"], handshake.headers["x-forwarded-host"]],
    [true, "192.0.2.7, 127.0.0.1", new URL(url).host],
  );
});

scene("io.close ends the connections of others that go through it; a number is a port", async (stage) => {
  const edge = await stage.embedded();
  const other = await stage.server(edge.nats, (server) => server.on("connection", () => {}));
  const io = await stage.server(edge.nats, () => {}, { edge: edge.url, namespaces: ["/none"] });
  io.listen(0);
  await until("it listens", () => io.httpServer.listening);
  const url = `http://127.0.0.1:${io.httpServer.address().port}`;
  const client = await stage.connected(url);
  assert.equal((await other.fetchSockets()).length, 1);
  const gone = got(client, "disconnect");
  await within("it closes", io.close());
  await gone;
});

scene("an edge that is away is a 502, and one line a minute", async (stage) => {
  const edge = await stage.embedded();
  const { http, url } = await listening(stage);
  const io = await stage.server(edge.nats, () => {}, { edge: "http://127.0.0.1:1" });
  io.attach(http);
  for (let i = 0; i < 3; i++) {
    const answer = await fetch(`${url}/socket.io/?EIO=4&transport=polling`);
    assert.equal(answer.status, 502);
    assert.match(await answer.text(), /The edge at http:\/\/127.0.0.1:1 cannot be reached/);
  }
  assert.match(
    await raw(url, `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n${upgrade}`),
    /^HTTP\/1.1 502 Bad Gateway/,
  );
  assert.equal((await fetch(url)).status, 404);
  const [error] = await got(stage.client(url, "/", { reconnection: false }), "connect_error");
  assert.equal(error.message, "websocket error");
  assert.equal(stage.complaints.length, 1);
  assert.match(
    stage.complaints[0],
    /the edge cannot be reached; clients get 502: http:\/\/127.0.0.1:1: .*ECONNREFUSED/,
  );
  stage.complaints.length = 0;
  assert.throws(() => new Server({ edge: "127.0.0.1:3000" }), /option edge: .* http:\/\//);
});

scene("the edge notices at once that a client has gone", async (stage) => {
  const edge = await stage.embedded();
  const { http, url } = await listening(stage);
  let gone;
  const io = await stage.server(
    edge.nats,
    (server) =>
      server.on("connection", (s) => {
        gone = new Promise((resolve) => s.on("disconnect", resolve));
      }),
    { edge: edge.url },
  );
  io.attach(http);
  const client = await stage.connected(url);
  client.io.engine.close();
  assert.match(await within("the edge notices", gone), /transport close/);
});
