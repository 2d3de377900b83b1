// The service of cmd worker, on the package for Node.js: node worker.mjs <folder of the package's code> <URL of NATS>.
// It publishes a note of each event that it handles, over the connection on which it acks. On SIGUSR2 it blocks its event
// loop for five seconds. On SIGTERM the package leaves.
import { createRequire } from "node:module";

const [folder, url] = process.argv.slice(2);
const { Server } = createRequire(import.meta.url)(`${folder}/index.js`);
const io = new Server({ nats: url, group: "work" });
const work = io.of("/work");
const { link } = work.adapter.hub;

work.on("connection", (socket) => {
  const { client } = socket.handshake.auth;
  let handled = 0;
  socket.on("n", (n, ack) => {
    const now = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
    link.publish("journal", `${now} ${client} ${n} ${io.instance}`);
    ack(++handled);
  });
  socket.on("disconnect", (reason) => console.log(`disconnect ${client}: ${reason}`));
});

process.on("SIGUSR2", () => {
  const end = Date.now() + 5000;
  while (Date.now() < end);
  console.log("it ran again");
});

await io.ready();
console.log("ready");
