// The proxy for development: a page's own server passes clients on to an edge.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { got, scene } from "./stage.mjs";

async function listening(stage, handler) {
  const http = createServer(handler);
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { http, url: `http://127.0.0.1:${http.address().port}` };
}

scene("clients connect to the program's own HTTP server", async (stage) => {
  const edge = await stage.embedded();
  const { http, url } = await listening(stage, (req, res) => res.end("the page"));
  const io = await stage.server(
    edge.nats,
    (server) => server.on("connection", (s) => s.on("echo", (v, ack) => ack(v))),
    { edge: edge.url },
  );
  io.attach(http);
  for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
    const client = await stage.connected(url, "/", { transports });
    assert.equal(await client.timeout(5000).emitWithAck("echo", "x".repeat(50_000)), "x".repeat(50_000));
  }
  assert.equal(await (await fetch(`${url}/index.html`)).text(), "the page");
  const gone = got(await stage.connected(url), "disconnect");
  await io.close();
  assert.equal((await gone)[0], "transport close");
  assert.equal(http.listening, false);
});

scene("an edge that is away is a 502", async (stage) => {
  const edge = await stage.embedded();
  const { http, url } = await listening(stage);
  const io = await stage.server(edge.nats, () => {}, { edge: "http://127.0.0.1:1" });
  io.attach(http);
  assert.equal((await fetch(`${url}/socket.io/?EIO=4&transport=polling`)).status, 502);
  assert.equal((await fetch(url)).status, 404);
  const [error] = await got(stage.client(url, "/", { reconnection: false }), "connect_error");
  assert.equal(error.message, "websocket error");
});
