// An instance as a process of its own, for tests that end or block it. It acks "echo", keeps a count in socket.data,
// and reports over IPC.
import { createRequire } from "node:module";

const { Server } = createRequire(import.meta.url)("../../dist/index.js");
const logger = {
  info() {},
  warn(warning) {
    console.warn(warning);
    process.send({ warning });
  },
  error: console.error,
};
const io = new Server({ nats: process.env.NATS_URL, logger, ...JSON.parse(process.env.OPTIONS ?? "{}") });

io.on("connection", (socket) => {
  process.send({ connection: socket.id, recovered: socket.recovered, rooms: [...socket.rooms], data: socket.data });
  if (!socket.recovered) {
    socket.join("all");
    socket.data.count = 0;
  }
  socket.on("echo", async (value, ack) => {
    socket.data.count++;
    for (const end = Date.now() + Number(process.env.WORK ?? 0); Date.now() < end;);
    if (process.env.DELAY > 0) {
      await new Promise((resolve) => setTimeout(resolve, Number(process.env.DELAY)));
    }
    ack(value);
  });
  socket.on("count", (ack) => ack(socket.data.count));
  socket.on("disconnect", (reason) => process.send({ disconnect: socket.id, reason }));
});
io.engine.on("handover", (socket, reason) => process.send({ handover: socket.id, reason }));

let ran = Date.now();
setInterval(() => {
  const starved = Date.now() - ran;
  ran += starved;
  starved > 2000 && process.send({ starved });
}, 100).unref();

process.on("message", ({ block }) => {
  ran = Date.now() + block;
  while (Date.now() < ran);
  process.send({ blocked: block });
});
await io.ready();
process.send({ ready: io.instance });
