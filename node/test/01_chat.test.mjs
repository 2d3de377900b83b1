// The seed's chat: message, join, leave, broadcast, acks and binary data.
import assert from "node:assert/strict";
import { got, scene, within } from "./stage.mjs";

scene("the seed's chat", async (stage) => {
  const edge = await stage.embedded();
  const server = await stage.server(edge.nats, (io) => {
    io.of("/chat_room").on("connection", (socket) => {
      socket.emit("welcome", socket.id);
      socket.on("message", (text) => io.of("/chat_room").to("room").emit("message", text));
      socket.on("join", (room, done) => {
        socket.join(room);
        socket.to(room).emit("joined", socket.id);
        done([...socket.rooms].length);
      });
      socket.on("leave", (room, done) => {
        socket.leave(room);
        done([...socket.rooms]);
      });
      socket.on("shout", (text) => socket.broadcast.emit("shouted", text));
      socket.on("file", (bytes, done) => {
        assert.ok(Buffer.isBuffer(bytes));
        done(Buffer.concat([bytes, Buffer.from("!")]), { nested: [bytes] });
      });
      socket.on("ask me", async (done) => done(await socket.emitWithAck("question", 1)));
    });
  });

  const ann = stage.client(edge.url, "/chat_room");
  const [id] = await got(ann, "welcome");
  assert.equal(id, ann.id);
  const bob = await stage.connected(edge.url, "/chat_room");
  assert.equal(await ann.timeout(5000).emitWithAck("join", "room"), 2);
  const joined = got(ann, "joined");
  assert.equal(await bob.timeout(5000).emitWithAck("join", "room"), 2);
  assert.deepEqual(await joined, [bob.id]);

  const messages = Promise.all([got(ann, "message"), got(bob, "message")]);
  ann.emit("message", "hello");
  assert.deepEqual(await messages, [["hello"], ["hello"]]);

  const shouted = got(bob, "shouted");
  ann.on("shouted", () => assert.fail("ann hears herself"));
  ann.emit("shout", "hi");
  assert.deepEqual(await shouted, ["hi"]);

  assert.deepEqual(await bob.timeout(5000).emitWithAck("leave", "room"), [bob.id]);
  assert.equal((await server.of("/chat_room").in("room").fetchSockets()).length, 1);

  const [bytes, more] = await within(
    "file",
    new Promise((resolve) => ann.emit("file", Buffer.from("abc"), (...values) => resolve(values))),
  );
  assert.equal(Buffer.from(bytes).toString(), "abc!");
  assert.equal(Buffer.from(more.nested[0]).toString(), "abc");

  ann.on("question", (n, done) => done(n + 1));
  assert.equal(await ann.timeout(5000).emitWithAck("ask me"), 2);

  const gone = new Promise((resolve) => server.of("/chat_room").sockets.get(bob.id).on("disconnect", resolve));
  bob.disconnect();
  assert.equal(await within("disconnect", gone), "client namespace disconnect");
  assert.deepEqual(stage.complaints, []);
});
