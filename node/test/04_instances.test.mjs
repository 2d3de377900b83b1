// Instances come and go; clients stay.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { got, instance, Load, scene, until } from "./stage.mjs";

async function crowd(stage, url, count) {
  return Promise.all(Array.from({ length: count }, () => stage.connected(url)));
}

const owned = (one) => one.said.filter((m) => m.connection).length;

scene("SIGTERM of one instance after the other: no event is lost or doubled, no client notices", async (stage) => {
  const edge = await stage.embedded();
  const a = await instance(stage, edge.nats);
  const b = await instance(stage, edge.nats);
  const clients = await crowd(stage, edge.url, 40);
  assert.ok(owned(a) > 0 && owned(b) > 0, "both own some");
  const load = new Load(clients);
  await until("some load", () => load.acked > 200);
  const [code, signal] = await a.end("SIGTERM");
  assert.equal(signal ?? code, "SIGTERM");
  assert.equal(a.said.filter((m) => m.disconnect).length, 0);
  const c = await instance(stage, edge.nats);
  const before = load.acked;
  await until("more load", () => load.acked > before + 200);
  await b.end("SIGTERM");
  const later = load.acked;
  await until("more load", () => load.acked > later + 200);
  await load.stop();
  await until("all acks", () => stage.mustRun() ?? load.acked === load.sent);
  assert.deepEqual(load.disconnects, []);
  assert.equal(load.doubled, 0);
  const recovered = c.said.filter((m) => m.connection);
  assert.equal(recovered.length, clients.length);
  for (const { connection, recovered: isRecovered, rooms, data } of recovered) {
    assert.ok(isRecovered);
    assert.deepEqual(rooms.sort(), ["all", connection].sort());
    assert.ok(data.count > 0, "its data is kept");
  }
  const counts = await Promise.all(clients.map((client) => client.timeout(5000).emitWithAck("count")));
  assert.equal(
    counts.reduce((sum, n) => sum + n, 0),
    load.sent,
  );
});

scene("kill -9 of an instance: no client is disconnected, and the other takes over", async (stage) => {
  const edge = await stage.embedded();
  const a = await instance(stage, edge.nats);
  const b = await instance(stage, edge.nats);
  const clients = await crowd(stage, edge.url, 30);
  const load = new Load(clients);
  await until("some load", () => load.acked > 200);
  const killed = owned(a);
  assert.ok(killed > 0);
  await a.end("SIGKILL");
  await until("all are taken over", () => owned(b) === clients.length);
  const before = load.acked;
  await until("more load", () => load.acked > before + 200);
  await load.stop();
  for (const client of clients) {
    assert.equal(typeof (await client.timeout(10_000).emitWithAck("count")), "number");
  }
  assert.deepEqual(load.disconnects, []);
  assert.equal(load.doubled, 0);
  console.log(
    `kill -9: ${killed} of ${clients.length} sockets taken over, ` +
      `${load.sent - load.acked} of ${load.sent} events without an ack`,
  );
});

scene("an event loop that is blocked for 5 s loses no socket", async (stage) => {
  const edge = await stage.embedded();
  const a = await instance(stage, edge.nats);
  const clients = await crowd(stage, edge.url, 20);
  const b = await instance(stage, edge.nats);
  a.child.send({ block: 5000 });
  const load = new Load(clients, 50);
  await until("it runs again", () => a.said.some((m) => m.blocked));
  await load.stop();
  await until("all acks", () => load.acked === load.sent);
  assert.deepEqual(load.disconnects, []);
  assert.equal(a.said.filter((m) => m.disconnect).length, 0);
  assert.equal(owned(b), 0);
});

scene("onInstanceLoss: reconnect closes the clients' connections instead", async (stage) => {
  const edge = await stage.embedded();
  const options = { onInstanceLoss: "reconnect" };
  const a = await instance(stage, edge.nats, options);
  const clients = await crowd(stage, edge.url, 4);
  const b = await instance(stage, edge.nats, options);
  await a.end("SIGTERM");
  await until("all are back", () => owned(b) === clients.length);
  assert.ok(b.said.filter((m) => m.connection).every((m) => !m.recovered));
});

scene("a Server that closes a namespace is not waited for, and one that was closed listens again", async (stage) => {
  const edge = await stage.embedded();
  const name = (server) => server.on("connection", (socket) => socket.emit("owner", server.instance));
  const one = await stage.server(edge.nats, name);
  const two = await stage.server(edge.nats, (server) => server.on("hello", () => server.of("/").adapter.close()));
  await until("both", async () => (await one.of("/").adapter.serverCount()) === 2);
  const answers = await one.serverSideEmitWithAck("hello");
  assert.deepEqual(answers, []);

  await one.close();
  const former = one.instance;
  one.attach(createServer());
  await one.ready();
  assert.notEqual(one.instance, former);
  await two.close();
  const client = stage.client(edge.url);
  const [owner] = await got(client, "owner");
  assert.equal(owner, one.instance);
});
