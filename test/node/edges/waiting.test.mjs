// Clients that connect while no service answers. Two services use package `backend`: one in /svc, and one in /slow
// that takes six seconds to decide. Those of the scripts are in /admitted and /brief.

import { connect as connectNATS } from '@nats-io/transport-node';
import { assert, control, scene, until } from '../scene.mjs';

const stock = { reconnectionDelay: 1000, reconnectionDelayMax: 5000 }; // the official client's own delays

// faithful checks that no client received an error after which it would not reconnect.
function faithful(socket) {
  const refusals = [];
  socket.on('connect_error', (error) => { if (!socket.active) { refusals.push(error.message); } });
  return refusals;
}

scene('NATS and the edge restart, services stay: all clients are back', async (s) => {
  // Not with the quick reconnects of the other scripts.
  const nats = await connectNATS({ servers: process.env.PARTYLINE_NATS, maxReconnectAttempts: -1 });
  try {
    await s.service(nats, 'sio.admitted.on.connect', () => '[{"rooms":["all"]}]');
    const clients = [];
    for (let i = 0; i < 30; i++) {
      const transports = i % 3 === 0 ? ['polling', 'websocket'] : ['websocket'];
      clients.push(s.client(`svc${i}`, '/svc', { ...stock, transports }), s.client(`admitted${i}`, '/admitted', { ...stock, transports }));
    }
    const refusals = clients.map(faithful);
    for (const client of clients) {
      await s.hear(client, 'connect');
    }
    const before = clients.map((client) => client.id);
    await control('stop');
    await new Promise((resolve) => { setTimeout(resolve, 75); });
    await control('start');
    await until('all are back', () => clients.every((client, i) => client.connected && client.id !== before[i]), 30_000);
    assert.deepEqual(refusals.flat(), []);
  } finally {
    await nats.close();
  }
});

scene('a service that takes six seconds', async (s) => {
  const nats = await s.nats();
  const asked = await s.service(nats, 'sio.admitted.on.connect', (m) => { setTimeout(() => m.respond('[]'), 6000); });
  const [plain, slow] = [s.client('plain', '/admitted'), s.client('slow', '/slow')];
  const began = Date.now();
  for (const client of [plain, slow]) {
    await until('it is connected', () => client.connected, 30_000);
    const took = Date.now() - began;
    assert.ok(took > 5500, `it took ${took} ms`);
  }
  // A plain service is asked again after five seconds of silence.
  const ids = [(await asked.take('the request')).reply, (await asked.take('the same request')).reply];
  assert.equal(ids[0], ids[1]);
  assert.equal(await slow.timeout(5000).emitWithAck('decisions', slow.id), 1);
});

scene('a page that is opened before its service starts', async (s) => {
  const early = s.client('early', '/admitted', stock);
  const refusals = faithful(early);
  await new Promise((resolve) => { setTimeout(resolve, 2000); });
  assert.equal(early.connected, false);
  const nats = await s.nats();
  await s.service(nats, 'sio.admitted.on.connect', () => '[]');
  await s.hear(early, 'connect');
  assert.deepEqual(refusals, []);
});

scene('when the time is over the client comes back by itself', async (s) => {
  const client = s.client('patient', '/brief');
  const refusals = faithful(client);
  for (let i = 0; i < 3; i++) {
    const [reason] = await s.hear(client, 'disconnect');
    assert.equal(reason, 'transport close');
    assert.equal(client.active, true);
  }
  const nats = await s.nats();
  await s.service(nats, 'sio.brief.on.connect', () => '[]');
  await s.hear(client, 'connect');
  assert.deepEqual(refusals, []);
});
