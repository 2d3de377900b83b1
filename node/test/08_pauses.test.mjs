// A process that does not keep up has its clients slowed down, and loses nothing.
import assert from "node:assert/strict";
import { instance, scene, until } from "./stage.mjs";
import { connect } from "@nats-io/transport-node";

scene("a flood of events pauses those who send it", async (stage) => {
  const edge = await stage.embedded();
  const nats = await connect({ servers: edge.nats });
  stage.later(() => nats.close());
  const verbs = { pause: 0, resume: 0 };
  for (const verb of Object.keys(verbs)) {
    nats.subscribe(`sio.*.${verb}.>`, { callback: () => verbs[verb]++ });
  }
  await nats.flush();
  const one = await instance(stage, edge.nats, {}, { WORK: "2" });
  const client = await stage.connected(edge.url);
  const calm = await stage.connected(edge.url);
  const order = [];
  const count = 2000;
  for (let i = 0; i < count; i++) {
    client.emit("echo", i, (value) => order.push(value));
  }
  await until("it is paused", () => verbs.pause > 0);
  await until("it is resumed", () => verbs.resume > 0);
  await until("all acks", () => order.length === count);
  assert.deepEqual(
    order,
    Array.from({ length: count }, (_, i) => i),
  );
  assert.equal(await calm.timeout(10_000).emitWithAck("echo", 1), 1);
  assert.equal(one.said.filter((m) => m.disconnect).length, 0);
});
