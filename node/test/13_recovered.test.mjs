// What edges say about clients that have come back. The edge is played by the test, so that each order can be had.
import assert from "node:assert/strict";
import { connect, headers } from "@nats-io/transport-node";
import { scene, until, within } from "./stage.mjs";

const id = "firstone.aaaaaaaaaaaaaaaaaaaa";
const edgeNamed = (edge) => [{ edge, at: Date.now(), every: 1000, sockets: 1 }];

/** Players are two edges, and the Server that they ask. */
class Players {
  heard = [];

  static async begin(stage, setUp = () => {}, options = {}) {
    const players = new Players();
    const edge = await stage.embedded();
    players.nats = await connect({ servers: edge.nats });
    stage.later(() => players.nats.close());
    players.io = await stage.server(
      edge.nats,
      (io) => {
        io.use((socket, next) => {
          players.heard.push(`middleware ${socket.recovered}`);
          next();
        });
        io.on("connection", (socket) => {
          const { data, recovered, rooms } = socket;
          players.heard.push(`connection ${recovered} ${[...rooms].filter((room) => room !== socket.id)} ${JSON.stringify(data)}`);
          socket.on("disconnect", (reason) => players.heard.push(reason));
          setUp(socket);
        });
      },
      options,
    );
    for (const name of ["firstone", "secondon"]) {
      players.says(name, "hello");
      const beats = setInterval(() => players.says(name, "beat"), 500);
      stage.later(() => clearInterval(beats));
    }
    return players;
  }

  says(edge, word) {
    if (!this[edge]) {
      this.nats.publish(`sio.$edge.${edge}.${word}`, JSON.stringify(edgeNamed(edge)));
      this[edge] = word === "bye";
    }
  }

  /** asks sends a connect request, and returns the answer. */
  async asks(number, issued, more = {}) {
    const handshake = { sid: id, issued, auth: {}, query: {}, headers: {}, address: "::1", url: "/", ...more };
    const reply = `sio._.ack.${handshake.sid}.connect`;
    const sub = this.nats.subscribe(reply, { max: 1 });
    const h = headers();
    h.set("Sio-Assignment", String(number));
    this.nats.publish(`sio._.own.${this.io.instance}.connect`, JSON.stringify(["connect", handshake]), {
      reply,
      headers: h,
    });
    for await (const m of sub) {
      assert.equal(m.headers.get("Sio-Assignment"), String(number));
      return m;
    }
  }

  /** comesBack asks about the socket at the second edge. */
  comesBack(number, issued, more) {
    const handover = { from: "node-other", rev: number, rooms: ["room"], data: { n: 1 } };
    return this.asks(number, issued, { handover, edge: "secondon", recovered: true, ...more });
  }

  async hears(...wanted) {
    await until(`${wanted}, and not ${this.heard}`, () => this.heard.length >= wanted.length);
    assert.deepEqual(this.heard.splice(0), wanted);
  }
}

const back = 'connection true room {"n":1}';

scene("a socket that has come back is recovered, without middlewares, once for each connection", async (stage) => {
  const players = await Players.begin(stage);
  await players.asks(1, 1);
  await players.hears("middleware false", "connection false  {}");
  const answer = await within("the answer", players.comesBack(2, 2));
  assert.equal(answer.string(), "[]");
  await players.hears("transport close", back);
  await players.comesBack(3, 2); // the answer was lost
  const late = JSON.stringify(["disconnect", { reason: "ping timeout", rooms: [], assignment: 1 }]);
  players.nats.publish(`sio._.own.${players.io.instance}.disconnect`, late, { reply: `sio._.emit.socket.${id}` });
  await players.comesBack(4, 3);
  await players.hears("transport close", back);
  assert.deepEqual([...players.io.sockets.sockets.keys()], [id]);
  assert.deepEqual([...players.io.sockets.adapter.rooms.keys()].sort(), [id, "room"].sort());
});

scene("a socket that its edge admitted is a new one here, with what the edge has of it", async (stage) => {
  const players = await Players.begin(stage, (socket) => socket.join("more"));
  const handover = { rev: 3, rooms: ["team"], user: "ann", data: { n: 1 } };
  for (const number of [1, 2]) { // the first answer was lost
    assert.equal((await players.asks(number, 1, { handover })).string(), '[{"rooms":["more"]}]');
  }
  await players.hears("middleware false", 'connection false team {"n":1}');
  const answer = await players.comesBack(3, 2); // and then it is one that is known
  assert.equal(answer.string(), '[{"rooms":["more"]}]');
  await players.hears("transport close", back);
});

scene("what is sent to a socket whose connection broke is published, and nothing once it was disconnected", async (stage) => {
  const sockets = [];
  const players = await Players.begin(stage, (socket) => sockets.push(socket));
  const sent = [];
  players.nats.subscribe("sio._.emit.socket.firstone.*", { callback: (_, m) => sent.push(m.string()) });
  await players.asks(1, 1);
  await players.asks(1, 1, { sid: "firstone.bbbbbbbbbbbbbbbbbbbb" });
  const ends = (sid, reason) =>
    players.nats.publish(
      `sio._.own.${players.io.instance}.disconnect`,
      JSON.stringify(["disconnect", { reason, rooms: [] }]),
      { reply: `sio._.emit.socket.${sid}` },
    );
  ends(id, "ping timeout");
  ends("firstone.bbbbbbbbbbbbbbbbbbbb", "client namespace disconnect");
  await until("the ends", () => sockets.filter((socket) => socket.disconnected).length === 2);
  sockets.forEach((socket) => socket.emit("to", socket.id));
  sockets.forEach((socket) => socket.emit("with an ack", () => {}));
  await until("what was sent", () => sent.length > 0);
  players.io.emit("end");
  await players.nats.flush();
  assert.deepEqual(sent, [JSON.stringify(["to", id])]);
});

scene("rooms of a socket that ended: the edge's last notice has none, and answers come late", async (stage) => {
  let rooms, socket;
  const players = await Players.begin(stage, (one) => {
    socket = one;
    one.on("disconnecting", () => (rooms = [...one.rooms].filter((room) => room !== id).sort()));
  });
  await players.asks(1, 1);
  await players.hears("middleware false", "connection false  {}");
  const replies = [];
  const commands = players.nats.subscribe(`sio._.*.socket.${id}`, { callback: (_, m) => replies.push(m.reply) });
  await players.nats.flush();
  socket.join(["again", "left"]);
  socket.leave("left");
  await until("the commands", () => replies.length === 2);
  const says = (event, about, reply) =>
    players.nats.publish(`sio._.own.${players.io.instance}.${event}`, JSON.stringify([event, about]), { reply });
  says("connect", { sid: id, rev: 9, rooms: [], data: {} });
  says("disconnect", { reason: "transport close", rooms: ["left", "others"] }, `sio._.emit.socket.${id}`);
  replies.forEach((reply) => players.nats.publish(reply, JSON.stringify([{ edge: "firstone", sockets: 1, rev: 8 }])));
  await until("the end", () => rooms);
  assert.deepEqual(rooms, ["again", "others"]);
  commands.unsubscribe();
});

scene("a socket that has come back ends with its new edge", async (stage) => {
  const players = await Players.begin(stage);
  await players.asks(1, 1);
  await players.comesBack(2, 2);
  await players.hears("middleware false", "connection false  {}", "transport close", back);
  await players.asks(1, 1, { sid: "firstone.bbbbbbbbbbbbbbbbbbbb" });
  await players.hears("middleware false", "connection false  {}");
  players.says("firstone", "bye");
  await players.hears("transport close"); // the other socket of the first edge
  assert.deepEqual([...players.io.sockets.sockets.keys()], [id]);
  players.says("secondon", "bye");
  await players.hears("transport close");
});

for (const [who, more, options] of [
  ["the edges want a decision", { decides: true }, {}],
  ["the option skipMiddlewares is false", {}, { connectionStateRecovery: { skipMiddlewares: false } }],
]) {
  scene(`middlewares run for a socket that has come back if ${who}`, async (stage) => {
    const players = await Players.begin(stage, () => {}, options);
    await players.comesBack(1, 1, more);
    await players.hears("middleware true", back);
    players.io.use((_socket, next) => next(Object.assign(new Error("banned"), { data: 7 })));
    const refused = await players.comesBack(2, 2, more);
    assert.equal(refused.headers.get("Sio-Error"), "banned");
    assert.equal(refused.string(), "[7]");
    await players.hears("transport close", "middleware true");
    const again = await players.comesBack(3, 3, more);
    assert.equal(again.headers.get("Sio-Error"), "banned");
    await players.hears("middleware true"); // the refusal of another connection does not count
  });
}

scene("onInstanceLoss: reconnect does not close a connection that has just come back", async (stage) => {
  const players = await Players.begin(stage, () => {}, { onInstanceLoss: "reconnect" });
  const answer = await players.comesBack(1, 1);
  assert.equal(answer.headers.get("Sio-Close"), "");
  await players.hears(back);
});
