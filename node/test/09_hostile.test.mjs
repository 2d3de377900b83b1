// Messages that no edge would send do no harm, and with a secret only the edges' own announcements count.
import assert from "node:assert/strict";
import { connect, headers } from "@nats-io/transport-node";
import { scene, until } from "./stage.mjs";

scene("garbage on this instance's subjects is ignored", async (stage) => {
  const edge = await stage.embedded();
  const io = await stage.server(edge.nats, (server) =>
    server.on("connection", (s) => s.on("echo", (v, ack) => ack(v))),
  );
  const client = await stage.connected(edge.url);
  const nats = await connect({ servers: edge.nats });
  stage.later(() => nats.close());
  const own = (event) => `sio._.own.${io.instance}.${event}`;
  const reply = `sio._.emit.socket.${client.id}`;
  const connectReply = `sio._.ack.${client.id.replace("a", "b")}.connect`;
  const attached = headers();
  attached.set("Sio-Attachments", "100");
  for (const body of ["", "x", "[]", "{}", "[1]", '["disconnect",null]', '["connect",{"sid":7}]', "[null,null]"]) {
    for (const event of ["connect", "disconnect", "disconnecting", "news", "%zz"]) {
      nats.publish(own(event), body);
      nats.publish(own(event), body, {
        reply: event === "disconnect" ? "x" : reply,
        headers: event === "news" ? attached : undefined,
      });
      nats.publish(own(event), body, { reply: connectReply });
    }
    for (const word of ["hello", "beat", "bye", "gone"]) {
      nats.publish(`sio.$edge.abcdefgh.${word}`, body);
      nats.publish(`sio.$svc.node.node-other.${word}`, body);
    }
    nats.publish("sio._.service.x", body);
    nats.publish("sio.%zz.service.x", body, { reply: "_INBOX.x" });
  }
  await nats.flush();
  assert.equal(await client.timeout(5000).emitWithAck("echo", 1), 1);
  assert.equal(io.sockets.sockets.size, 1);
});

scene("with the edges' secret, announcements count that an edge has signed", async (stage) => {
  const edge = await stage.embedded(["--edges.secret=a secret of the edges 0123456789"]);
  const io = await stage.server(edge.nats, () => {}, { edgesSecret: "a secret of the edges 0123456789" });
  const { instance } = io.of("/").adapter.hub;
  await until("the edge", () => instance.edges.names.length === 1);
  const [name] = instance.edges.names;
  const { link } = io.of("/").adapter.hub;
  link.publish(
    `sio.$edge.${name}.gone`,
    JSON.stringify([{ edge: name, at: Date.now(), sockets: 0, by: "abcdefgh" }]),
  );
  link.publish(
    "sio.$edge.abcdefgh.hello",
    JSON.stringify([{ edge: "abcdefgh", at: Date.now(), every: 1000, sockets: 0 }]),
  );
  await until("the complaint", () => stage.complaints.some((text) => text.includes("edgesSecret")));
  assert.deepEqual(instance.edges.names, [name]);
  const wrong = await stage.server(edge.nats, () => {}, { edgesSecret: "another secret 0123456789abcdef" });
  assert.deepEqual(wrong.of("/").adapter.hub.instance.edges.names, []);
});
