// Who is in a room, as a program follows it.
import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { scene, until } from "./stage.mjs";

const environment = {
  PARTYLINE_NAMESPACES: JSON.stringify({
    "/chat": { connect: "open", rooms: ["*"], presence: true },
    "/silent": { connect: "open", auto_join: ["lobby"] },
  }),
};

/** Picture is what one follow has told. */
class Picture {
  members = new Map();
  calls = 0;
  reasons = [];

  constructor(stage, io, namespace, room) {
    this.stop = io.of(namespace).follow(room, (joined, left) => this.#changed(joined, left));
    stage.later(this.stop);
  }

  #changed(joined, left) {
    this.calls++;
    for (const member of joined) {
      assert.notDeepEqual(this.members.get(member.id), member);
      this.members.set(member.id, member);
    }
    for (const { id, reason } of left) {
      assert.ok(this.members.delete(id), `${id} has left, and was not there`);
      assert.ok(reason);
      this.reasons.push(reason);
    }
  }

  async sees(...clients) {
    const wanted = clients.map((client) => client.id ?? client).sort();
    const is = () => this.calls > 0 && String([...this.members.keys()].sort()) === String(wanted);
    await until(`the room has ${wanted}`, is);
  }
}

/** serve takes the sockets of both namespaces; else this program would refuse them. */
const serve = (io) => ["/chat", "/silent"].forEach((namespace) => io.of(namespace));

const join = (client) => client.timeout(20_000).emitWithAck("join", "lobby");

scene("follow has who enters and leaves, at edges that come and die", async (stage) => {
  const one = await stage.embedded([], environment);
  const io = await stage.server(one.nats, serve);
  const ann = await stage.connected(one.url, "/chat");
  await join(ann);
  const lobby = new Picture(stage, io, "/chat", "lobby");
  const empty = new Picture(stage, io, "/chat", "a b.*>");
  await lobby.sees(ann);
  await empty.sees();
  const quiet = await stage.connected(one.url, "/silent");
  await new Picture(stage, io, "/silent", "lobby").sees(quiet);

  const two = await stage.edge(one.nats, [], environment);
  const bob = await stage.connected(two.url, "/chat");
  await join(bob);
  await lobby.sees(ann, bob);
  await io.of("/chat").to(bob.id).setGrant({ user: "bob" });
  await until("bob is bob", () => lobby.members.get(bob.id).user === "bob");
  await io.of("/chat").to(bob.id).setGrant({ user: "b".repeat(1000) });
  await until("a user that is too long is not shown", () => !lobby.members.get(bob.id).user);
  await ann.timeout(20_000).emitWithAck("leave", "lobby");
  await lobby.sees(bob);
  assert.deepEqual(lobby.reasons, ["leave"]);
  bob.io.reconnection(false);
  await two.end("SIGKILL");
  await lobby.sees();
  assert.deepEqual(lobby.reasons, ["leave", "transport close"]);

  lobby.stop();
  const { calls } = lobby;
  const again = new Picture(stage, io, "/chat", "lobby");
  await join(ann);
  await again.sees(ann);
  assert.equal(lobby.calls, calls);
  assert.throws(() => io.follow("firstone.aaaaaaaaaaaaaaaaaaaa", () => {}), TypeError);
});

scene("follow asks again where messages were lost, and goes on beside an edge that does not answer", async (stage) => {
  const edge = await stage.embedded([], environment);
  const io = await stage.server(edge.nats, serve);
  const ann = await stage.connected(edge.url, "/chat");
  await join(ann);
  const lobby = new Picture(stage, io, "/chat", "lobby");
  await lobby.sees(ann);
  const nats = await connect({ servers: edge.nats });
  stage.later(() => nats.close());
  const says = (about) => nats.publish("sio.chat.member.room.lobby", JSON.stringify(["members", about]));
  const id = ann.id.split(".")[0];
  says({ edge: id, n: 90, joined: [{ id: "made.up" }], left: [{ id: ann.id, reason: "leave" }] });
  says({ edge: "unknown", n: 7, joined: [{ id: "x" }], left: [] });
  says({});
  nats.publish("sio.chat.member.room.lobby", "x");
  const bob = await stage.connected(edge.url, "/chat");
  await join(bob);
  await lobby.sees(ann, bob);

  const beat = () => nats.publish("sio.$edge.stranger.beat", `[{"edge":"stranger"}]`);
  beat();
  const beats = setInterval(beat, 200);
  stage.later(() => clearInterval(beats));
  says({ edge: "stranger", n: 1, joined: [{ id: "stranger.s", user: "s" }], left: [] });
  await lobby.sees(ann, bob, "stranger.s");
  bob.disconnect();
  await lobby.sees(ann, "stranger.s");
  clearInterval(beats);
  await lobby.sees(ann);
});

scene("the example of the documents", async (stage) => {
  const edge = await stage.embedded([], environment);
  const io = await stage.server(edge.nats, serve);
  const members = new Map();
  const stop = io.of("/chat").follow("lobby", (joined, left) => {
    joined.forEach((member) => members.set(member.id, member)); // { id, user }
    left.forEach((member) => members.delete(member.id)); // { id, user, reason }
  });
  const ann = await stage.connected(edge.url, "/chat");
  await join(ann);
  await until("ann is there", () => members.has(ann.id));
  ann.disconnect();
  await until("she has left", () => members.size === 0);
  stop();
});

scene("follow may begin before the server is ready, and ends with it", async (stage) => {
  const edge = await stage.embedded([], environment);
  let early;
  const io = await stage.server(edge.nats, (io) => {
    early = new Picture(stage, io, "/chat", "lobby");
  });
  const ann = await stage.connected(edge.url, "/chat");
  await join(ann);
  await early.sees(ann);
  await io.close();
  const { calls } = early;
  const other = await stage.server(edge.nats, serve);
  const late = new Picture(stage, other, "/chat", "lobby");
  await late.sees();
  const bob = await stage.connected(edge.url, "/chat");
  await join(bob);
  await late.sees(bob);
  assert.equal(early.calls, calls);
});
