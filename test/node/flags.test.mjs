// Flags and methods of clients: volatile, compress, send, catch-all listeners, all kinds of values.

import { assert, scene, withHeaders } from './scene.mjs';

for (const transports of [['polling'], ['websocket']]) {
  scene(`volatile over ${transports}`, async (s) => {
    const nats = await s.nats();
    const seen = await s.service(nats, 'sio._.on.tick');
    const a = s.client('a', '/', { transports, autoConnect: false });
    a.volatile.emit('tick', 'thrown away: not connected');
    a.connect();
    await s.hear(a, 'connect');
    a.emit('tick', 1);
    assert.deepEqual((await seen.take('a tick')).json(), ['tick', 1]);
    // The way down is free once an ack has come back over it.
    await s.service(nats, 'sio._.on.free', () => '[]');
    await a.timeout(5000).emitWithAck('free');
    let tries = 0;
    const told = s.hear(a, 'tock');
    const again = setInterval(() => { // a volatile event may be lost, so it is repeated until it arrives
      s.publish(nats, `sio._.emit.socket.${a.id}`, `["tock",${tries++}]`, { headers: withHeaders({ 'Sio-Volatile': 'true' }) });
    }, 20);
    await told.finally(() => clearInterval(again));
    a.volatile.emit('tick', 2);
    assert.deepEqual((await seen.take('a volatile tick')).json(), ['tick', 2]);
  });

  scene(`compress(false) over ${transports}`, async (s) => {
    const nats = await s.nats();
    const large = 'x'.repeat(20_000);
    await s.service(nats, 'sio._.on.mirror', (m) => JSON.stringify([m.json()[1]]));
    const a = await s.connected('a', '/', { transports });
    assert.equal(await a.compress(false).timeout(5000).emitWithAck('mirror', large), large);
    assert.equal(await a.compress(true).timeout(5000).emitWithAck('mirror', large), large);
    for (const compress of ['true', 'false']) {
      s.publish(nats, `sio._.emit.socket.${a.id}`, JSON.stringify(['large', large]), { headers: withHeaders({ 'Sio-Compress': compress }) });
      assert.deepEqual(await s.hear(a, 'large'), [large]);
    }
  });
}

scene('all kinds of values', async (s) => {
  const nats = await s.nats();
  const seen = await s.service(nats, 'sio._.on.values', (m) => JSON.stringify(m.json().slice(1)));
  const a = await s.connected('a');
  const values = [0, -1.5e300, '', 'line\u2028\n\0 "\\', null, true, [], {}, { 'a.b': [[[{}]]] }, '\u{1F600}', '<script>&'];
  const echoed = await new Promise((resolve) => { a.emit('values', ...values, (...given) => resolve(given)); });
  assert.deepEqual(echoed, values);
  assert.equal((await seen.take('the event')).string(), JSON.stringify(['values', ...values])); // byte for byte
  const date = new Date(0);
  assert.equal(await a.timeout(5000).emitWithAck('values', date), date.toISOString());
  assert.equal(await a.timeout(5000).emitWithAck('values', undefined), null);
});

scene('send, catch-all listeners, listeners that go', async (s) => {
  const nats = await s.nats();
  const seen = await s.service(nats, 'sio._.on.message');
  const a = await s.connected('a');
  const out = [];
  a.onAnyOutgoing((...values) => out.push(values));
  a.send('by send', 1);
  assert.deepEqual((await seen.take('the message')).json(), ['message', 'by send', 1]);
  assert.deepEqual(out, [['message', 'by send', 1]]);
  let calls = 0;
  a.once('ping-me', () => calls++);
  const gone = () => calls += 100;
  a.on('ping-me', gone);
  a.off('ping-me', gone);
  for (const n of [1, 2]) {
    s.publish(nats, 'sio._.emit.all', `["ping-me",${n}]`);
    await s.hear(a, 'ping-me');
  }
  assert.equal(calls, 1);
  s.publish(nats, 'sio._.emit.all', '[7,"a number"]');
  assert.deepEqual(await s.hear(a, 7), ['a number']);
});
