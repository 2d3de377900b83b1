// The same application on the reference server: node server.mjs [URL of Redis]. It says where it listens, and collects its
// garbage on SIGUSR2, for the measurement of its memory (--expose-gc).

import { createServer } from 'node:http';
import { Server } from 'socket.io';

const [redis] = process.argv.slice(2);
const http = createServer((request, response) => response.writeHead(404).end());
const io = new Server(http, { serveClient: false, adapter: redis ? await redisAdapter(redis) : undefined });

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

process.on('SIGUSR2', () => globalThis.gc?.());

http.listen(0, '127.0.0.1', () => {
  console.error(JSON.stringify({ msg: 'listening', address: `127.0.0.1:${http.address().port}` }));
});

async function redisAdapter(url) {
  const { createAdapter } = await import('@socket.io/redis-adapter');
  const { createClient } = await import('redis');
  const publisher = createClient({ url });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  return createAdapter(publisher, subscriber);
}
