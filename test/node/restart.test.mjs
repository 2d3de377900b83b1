// The server goes away and comes back; clients come back by themselves.

import { assert, control, scene, until } from './scene.mjs';

const namespace = '/chat_room';

async function threeKinds(s) {
  return [
    await s.connected('ws', namespace),
    await s.connected('poll', namespace, { transports: ['polling'] }),
    await s.connected('upgraded', namespace, { transports: ['polling', 'websocket'] }),
  ];
}

// talk shows that all are there again, by a NATS client and among themselves.
async function talk(s, sockets) {
  const nats = await s.nats();
  s.publish(nats, 'sio.chat_room.emit.room.room', '["message","hi"]');
  for (const socket of sockets) {
    assert.deepEqual(await s.hear(socket, 'message'), ['hi']);
  }
  sockets[0].emit('message', 'among us');
  for (const socket of sockets.slice(1)) {
    assert.deepEqual(await s.hear(socket, 'message'), ['among us']);
  }
}

for (const end of ['stop', 'kill']) {
  scene(`${end}, start: clients come back and say what they kept`, async (s) => {
    const sockets = await threeKinds(s);
    const ids = sockets.map((socket) => socket.id);
    await until('the upgrade', () => sockets[2].io.engine.transport.name === 'websocket');
    await control(end);
    for (const socket of sockets) {
      const [reason] = await s.hear(socket, 'disconnect');
      const polling = socket.io.engine.transport.name === 'polling';
      assert.equal(reason, end === 'kill' && polling ? 'transport error' : 'transport close');
      assert.equal(socket.active, true);
    }
    sockets[0].emit('shout', 'kept');
    await control('start');
    for (const socket of sockets) {
      await s.hear(socket, 'connect');
      assert.ok(!ids.includes(socket.id));
    }
    // `kept` is sent as soon as its sender is back, so who comes later misses it.
    await talk(s, sockets);
    for (const socket of sockets) {
      assert.ok(s.unheard(socket).every(([event, text]) => event === 'shout' && text === 'kept'));
    }
  });
}

scene('a server that stands still: ping timeout, and back again', async (s) => {
  const [ws, poll] = [await s.connected('ws', namespace), await s.connected('poll', namespace, { transports: ['polling'] })];
  const pings = [];
  ws.io.on('ping', () => pings.push(Date.now()));
  await until('two heartbeats', () => pings.length >= 2);
  assert.ok(ws.connected && poll.connected);
  await control('pause');
  try {
    for (const socket of [ws, poll]) {
      assert.equal((await s.hear(socket, 'disconnect'))[0], 'ping timeout');
    }
  } finally {
    await control('resume');
  }
  for (const socket of [ws, poll]) {
    await s.hear(socket, 'connect');
  }
  await talk(s, [ws, poll]);
});
