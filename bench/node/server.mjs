// The same application on the reference server, or on the package partyline behind an edge:
//
//   node server.mjs | node server.mjs redis <URL> | node server.mjs partyline <URL of NATS> | node server.mjs express <KEY> | node server.mjs tls <CERTIFICATE> <KEY>
//
// It prints where it listens, and collects its garbage on SIGUSR2, for the measurement of its memory (--expose-gc).

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';

const [kind, url, key] = process.argv.slice(2);
const isBehindEdge = kind === 'partyline';
const { Server } = await import(isBehindEdge ? '../../node/wrapper.mjs' : 'socket.io');
const notFound = (request, response) => response.writeHead(404).end();
const http = kind === 'tls'
  ? createSecureServer({ cert: readFileSync(url), key: readFileSync(key) }, notFound)
  : createServer(kind === 'express' ? await route(url) : notFound);
const io = isBehindEdge
  ? new Server({ nats: url })
  : new Server(http, { serveClient: false, adapter: kind === 'redis' ? await redisAdapter(url) : undefined });

io.of('/bench').on('connection', (socket) => {
  socket.on('join', async (room, ack) => {
    await socket.join(room);
    ack({ ok: true });
  });
  socket.on('leave', async (room, ack) => {
    await socket.leave(room);
    ack({ ok: true });
  });
  socket.on('message', (text) => {
    for (const room of socket.rooms) {
      if (room !== socket.id) {
        socket.to(room).emit('message', text);
      }
    }
  });
  socket.on('echo', (text, ack) => ack(text));
});

// One collection leaves V8's young generation as large as it was under load.
process.on('SIGUSR2', () => {
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.();
  }
});

if (isBehindEdge) {
  await io.ready();
  console.error(JSON.stringify({ msg: 'listening' }));
} else {
  http.listen(0, '127.0.0.1', () => {
    console.error(JSON.stringify({ msg: 'listening', address: `127.0.0.1:${http.address().port}` }));
  });
}

// route is an application of Express that emits what is posted to it.
async function route(key) {
  const { default: express } = await import('express');
  const app = express();
  app.post('/v1/emit', express.json(), (request, response) => {
    if (request.headers.authorization !== `Bearer ${key}`) {
      response.status(401).json({});
      return;
    }
    const { namespace, to, event } = request.body;
    io.of(namespace).to(to.room).emit(...event);
    response.status(202).json({});
  });
  return app;
}

async function redisAdapter(url) {
  const { createAdapter } = await import('@socket.io/redis-adapter');
  const { createClient } = await import('redis');
  const publisher = createClient({ url });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  return createAdapter(publisher, subscriber);
}
