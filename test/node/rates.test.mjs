// A client that emits more than its rate is slowed down: nothing is lost, the order is kept, and it stays connected.

import { assert, scene, until } from './scene.mjs';

for (const [name, transports] of [
  ['polling', ['polling']], ['WebSocket only', ['websocket']], ['polling, then WebSocket', ['polling', 'websocket']],
]) {
  scene(`${name}: a thousand events at once, at 500 a second`, async (s) => {
    const nats = await s.nats();
    const heard = [];
    let id;
    await s.service(nats, 'sio.metered.on.count', (m) => {
      if (m.reply.includes(id)) {
        heard.push(m.json()[1]);
      }
    });
    const a = s.client('a', '/metered', { transports });
    let disconnects = 0;
    a.on('disconnect', () => { disconnects++; });
    await s.hear(a, 'connect');
    id = a.id;
    const all = Array.from({ length: 1000 }, (_, n) => n);
    const start = Date.now();
    all.forEach((n) => a.emit('count', n));
    await until('all events', () => heard.length >= all.length, 30_000);
    assert.deepEqual(heard, all);
    assert.ok(Date.now() - start > 1700, `it took ${Date.now() - start} ms`);
    assert.equal(disconnects, 0);
  });
}
