// What clients may do by themselves, as the program grants it.
import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { got, scene, until } from "./stage.mjs";

const namespaces = { PARTYLINE_NAMESPACES: JSON.stringify({ "/*": { connect: "service", rooms: ["public"] } }) };
const ask = (client, ...event) => client.timeout(10_000).emitWithAck(...event);
const refused = (what) => ({ error: `not allowed: ${what}` });

/** serve answers `say`, and `rooms` with the socket's rooms. */
function serve(io) {
  io.on("connection", (socket) => {
    socket.on("say", (ack) => ack("said"));
    socket.on("rooms", (ack) => ack([...socket.rooms].filter((room) => room !== socket.id).sort()));
  });
}

scene("a middleware grants, and the client is connected with it", async (stage) => {
  const edge = await stage.embedded([], namespaces);
  const io = await stage.server(edge.nats, (io) => {
    io.use(async (socket, next) => {
      await socket.join("hall"); // does not wait for the admission, which waits for the middleware
      const expires = new Date(4e12 + 1);
      await socket.setGrant({ user: "ann", rooms: ["team"], join: ["lobby-*"], emit: ["none"], expires });
      await socket.setGrant({ emit: ["say", "rooms"], leave: undefined, join: undefined });
      next();
    });
    serve(io);
  });
  const nats = await connect({ servers: edge.nats });
  stage.later(() => nats.close());
  const answers = nats.subscribe("sio._.ack.*.*.connect", { max: 1 });
  await nats.flush();
  const ann = await stage.connected(edge.url);
  for await (const answer of answers) {
    assert.deepEqual(answer.json(), [
      { user: "ann", rooms: ["hall", "team"], join: ["lobby-*"], emit: ["say", "rooms"], expires: 4e9 },
    ]);
  }
  assert.deepEqual(await ask(ann, "say"), "said");
  assert.deepEqual(await ask(ann, "shout"), refused("shout"));
  assert.deepEqual(await ask(ann, "join", "lobby-1"), { ok: true });
  assert.deepEqual(await ask(ann, "join", "public"), refused("public"));
  assert.deepEqual(await ask(ann, "rooms"), ["hall", "lobby-1", "team"]);
  const [, { user }] = (await nats.request(`sio._.fetch.socket.${ann.id}`)).json();
  assert.equal(user, "ann");
  assert.deepEqual((await io.fetchSockets()).map((socket) => socket.id), [ann.id]);
});

scene("setGrant of a socket, of rooms, of namespaces, and taking back", async (stage) => {
  const edge = await stage.embedded([], namespaces);
  const io = await stage.server(edge.nats, (io) => {
    io.on("connection", (socket) => socket.join("hall"));
    serve(io);
  });
  const ann = await stage.connected(edge.url);
  const bob = await stage.connected(edge.url);
  const both = async (event, wanted) => {
    assert.deepEqual([await ask(ann, ...event), await ask(bob, ...event)], wanted);
  };
  const socket = await until("the socket", () => io.sockets.sockets.get(ann.id));
  await socket.setGrant({ emit: [] });
  await both(["say"], [refused("say"), "said"]);
  assert.equal(await io.to("hall").setGrant({ emit: ["r*"] }), 2);
  await both(["say"], [refused("say"), refused("say")]);
  assert.equal(await io.of("/").except(ann.id).setGrant({ emit: null }), 1);
  await both(["say"], [refused("say"), "said"]);
  assert.equal(await io.setGrant({ emit: null, rooms: ["news"], join: [] }), 2);
  const heard = Promise.all([ann, bob].map((client) => got(client, "headline")));
  io.to("news").emit("headline");
  await heard;
  await both(["rooms"], [["hall", "news"], ["hall", "news"]]);
  await both(["join", "public"], [refused("public"), refused("public")]);
  assert.equal(await io.to(bob.id).setGrant({ rooms: null, join: null }), 1);
  await both(["join", "public"], [refused("public"), { ok: true }]);
  await both(["rooms"], [["hall", "news"], ["hall", "public"]]);
  assert.equal(await io.to("firstone.aaaaaaaaaaaaaaaaaaaa").setGrant({ emit: [] }), 0);
  for (const wrong of [{ emits: [] }, { emit: [""] }, { join: "a" }, { expires: 1 }, { user: "a\n" }]) {
    assert.throws(() => socket.setGrant(wrong), /partyline: a grant cannot have /);
    assert.throws(() => io.setGrant(wrong), /partyline: a grant cannot have /);
  }
  await socket.setGrant({ expires: new Date(1000) });
  assert.deepEqual(await got(ann, "disconnect").then(([reason]) => reason), "transport close");
});

scene("a grant stays with a socket that is handed over, and its middleware grants nothing again", async (stage) => {
  const edge = await stage.embedded([], namespaces);
  const setUp = (io) => {
    io.use((socket, next) => {
      socket.setGrant({ emit: ["*"], rooms: ["first"] });
      next();
    });
    serve(io);
  };
  const one = await stage.server(edge.nats, setUp);
  const ann = await stage.connected(edge.url);
  assert.equal(await ask(ann, "say"), "said");
  const two = await stage.server(edge.nats, (io) => {
    setUp(io);
    io.on("connection", (socket) => socket.setGrant({ join: ["late"] }));
  });
  await one.in(ann.id).setGrant({ emit: ["rooms"], rooms: ["second"] });
  await one.in(ann.id).setGrant({ rooms: null });
  await one.leave();
  await until("the other owns it", () => two.sockets.sockets.has(ann.id));
  assert.deepEqual(await ask(ann, "say"), refused("say"));
  assert.deepEqual(await ask(ann, "rooms"), ["first"]); // the admission's
  await until("its connection handler grants", async () => (await ask(ann, "join", "late")).ok);
});
