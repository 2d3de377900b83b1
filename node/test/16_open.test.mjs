// Namespaces into which the edge itself lets clients: their sockets have an owner nevertheless.
import assert from "node:assert/strict";
import { got, scene, until } from "./stage.mjs";

const open = { PARTYLINE_NAMESPACES: JSON.stringify({ "/*": { connect: "open", auto_join: ["hall"] } }) };

scene("a server has the sockets of an open namespace, and may send clients away", async (stage) => {
  const edge = await stage.embedded([], open);
  const early = await stage.connected(edge.url, "/chat"); // before there is a server
  const rooms = [];
  const io = await stage.server(edge.nats, (server) => {
    const chat = server.of("/chat");
    chat.use((socket, next) => next(socket.handshake.auth.name === "eve" ? new Error("no") : undefined));
    chat.on("connection", (socket) => {
      rooms.push(...socket.rooms);
      socket.setGrant({ user: socket.handshake.auth.name, emit: ["n"] });
      let before = -1;
      socket.on("n", (n, ack) => {
        assert.equal(n, ++before);
        ack(n);
      });
    });
  });
  const ann = await stage.connected(edge.url, "/chat", { auth: { name: "ann" } });
  const acks = [];
  for (let n = 0; n < 1000; n++) {
    ann.emit("n", n, (answer) => acks.push(answer));
  }
  await until("all acks", () => acks.length === 1000);
  assert.deepEqual(acks, [...acks.keys()]);
  assert.deepEqual(rooms.sort(), [ann.id, "hall"].sort());
  assert.deepEqual(await ann.emitWithAck("other"), { error: "not allowed: other" });
  assert.equal([...io.of("/chat").sockets.keys()].join(), ann.id);

  const eve = await stage.connected(edge.url, "/chat", { auth: { name: "eve" } });
  const [reason] = eve.connected ? await got(eve, "disconnect") : ["io server disconnect"];
  assert.equal(reason, "io server disconnect");

  const back = got(early, "connect"); // a client that was there before gets its owner when it comes back
  early.io.engine.close();
  await back;
  await until("the server has it", () => io.of("/chat").sockets.size === 2);
});
