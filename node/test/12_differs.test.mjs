// What differs from Socket.IO, where no other test shows it. docs/how-to/migrate.md has a row for each.
import assert from "node:assert/strict";
import { got, scene, Server, until } from "./stage.mjs";

// pair starts two instances on an edge, the second of which owns no socket, and connects a client.
async function pair(stage, setUp) {
  const edge = await stage.embedded();
  const owner = await stage.server(edge.nats, setUp);
  const client = await stage.connected(edge.url);
  const socket = await until("the socket", () => owner.sockets.sockets.get(client.id));
  const other = await stage.server(edge.nats, setUp);
  await until("they know each other", async () => (await other.of("/").adapter.serverCount()) === 2);
  return { owner, other, client, socket };
}

scene("data is JSON of up to 65,536 bytes for other copies", async (stage) => {
  const { other, socket } = await pair(stage, (io) => io.on("connection", () => {}));
  const seen = async () => (await other.fetchSockets())[0].data;
  socket.data = { day: new Date(0), list: [1] };
  await until("others see it", async () => (await seen()).day === "1970-01-01T00:00:00.000Z");
  socket.data.list.push(2);
  await until("and changes within", async () => (await seen()).list.length === 2);
  socket.data.large = "x".repeat(70_000);
  await until("larger data is a line in the log", () => stage.complaints.length === 1);
  assert.match(stage.complaints[0], /is not kept by its edge.*65536 bytes/);
  assert.equal((await seen()).large, undefined);
  assert.equal(socket.data.large.length, 70_000);
});

scene("a packet has at most 10 binary attachments", async (stage) => {
  const { client, socket } = await pair(stage, (io) => io.on("connection", () => {}));
  const heard = got(client, "bytes");
  socket.emit("bytes", Array(10).fill(Buffer.from("x")));
  assert.equal((await heard)[0].length, 10);
  assert.throws(
    () => socket.emit("bytes", Array(11).fill(Buffer.from("x"))),
    /11 binary attachments in one packet; at most 10/,
  );
});

scene("onAnyOutgoing hears the broadcasts of its own copy only", async (stage) => {
  const { owner, other, client, socket } = await pair(stage, (io) => io.on("connection", () => {}));
  const outgoing = [];
  socket.onAnyOutgoing((...values) => outgoing.push(values));
  const heard = [];
  client.on("news", (n) => heard.push(n));
  other.emit("news", 1);
  await until("the first", () => heard.length === 1);
  owner.emit("news", 2);
  await until("the second", () => heard.length === 2);
  assert.deepEqual(outgoing, [["news", 2]]);
});

scene("a program does not listen for clients", async (stage) => {
  assert.throws(() => new Server(3000, { edge: "" }), /set listen in the edge's configuration to port 3000/);
  assert.throws(() => new Server({ cors: { origin: "*" } }), /cors\.origins/);
});

scene("what docs/socket.io-api.md says that this package lacks", async (stage) => {
  const edge = await stage.embedded();
  const io = await stage.server(edge.nats, () => {}, { connectionStateRecovery: { maxDisconnectionDuration: 1 } });
  for (const name of [
    "generateId",
    "opts",
    "upgrades",
    "handleRequest",
    "handleUpgrade",
    "onWebTransportSession",
    "attach",
  ]) {
    assert.equal(io.engine[name], undefined, name);
  }
  assert.match(stage.complaints.splice(0)[0], /maxDisconnectionDuration.*recovery\.for/);
});
