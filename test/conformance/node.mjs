// The application on our package for Node.js: its import replaces the reference's. run.mjs starts it with the NATS
// addresses of our servers as arguments; an address that comes twice has two servers.

import { serveApplication, serveServers } from './application.mjs';

const { Server } = await import(process.env.PARTYLINE_PACKAGE ?? '../../node/wrapper.mjs');
const addresses = process.argv.slice(2);
const complain = (...values) => console.error(...values);
const logger = { info() {}, warn: complain, error: complain };
const all = addresses.map((nats) => {
  const io = new Server({ nats, logger });
  const isPair = addresses.indexOf(nats) !== addresses.lastIndexOf(nats);
  if (isPair) {
    serveServers(io);
  }
  serveApplication(io, isPair);
  return io;
});
await Promise.all(all.map((io) => io.ready()));
process.send({ ready: true });
process.on('message', async () => { // the end
  await Promise.all(all.map((io) => io.close()));
  process.exit();
});
process.on('disconnect', () => process.exit());
