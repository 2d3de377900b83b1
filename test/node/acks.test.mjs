// Acks that a client asks for: what a service responds becomes the ack.

import { assert, scene, until } from './scene.mjs';

for (const transports of [['polling'], ['websocket']]) {
  scene(`acks over ${transports}`, async (s) => {
    const nats = await s.nats();
    const asked = await s.service(nats, 'sio.chat_room.on.>', (m) => {
      const [event, value] = m.json();
      switch (event) {
        case 'nothing': return '[]';
        case 'several': return JSON.stringify(['one', 2, { three: [3] }]);
        case 'echo': return JSON.stringify([value]);
      }
      return undefined;
    });
    const a = await s.connected('a', '/chat_room', { transports });

    const values = await new Promise((resolve) => { a.emit('several', (...given) => resolve(given)); });
    assert.deepEqual(values, ['one', 2, { three: [3] }]);
    assert.equal(await a.timeout(5000).emitWithAck('nothing'), undefined);
    assert.equal(await a.timeout(5000).emitWithAck('echo', '가 🎉 "\\'), '가 🎉 "\\');
    const message = await asked.take('echo', (m) => m.json()[0] === 'echo');
    assert.match(message.reply, new RegExp(`^sio\\.chat_room\\.ack\\.${a.id.replace('.', '\\.')}\\.\\d+$`));
    assert.deepEqual(message.json(), ['echo', '가 🎉 "\\']); // the callback is no argument

    // No ack, and none is due without a callback.
    await assert.rejects(a.timeout(100).emitWithAck('silence'), /operation has timed out/);
    a.emit('echo', 'no ack wanted');
    const plain = await asked.take('the plain event', (m) => m.json()[1] === 'no ack wanted');
    assert.equal(plain.reply, `sio.chat_room.emit.socket.${a.id}`);
  });
}

scene('many acks under way, given in another order', async (s) => {
  const nats = await s.nats();
  const kept = [];
  await s.service(nats, 'sio._.on.keep', (m) => {
    kept.push(m);
    if (kept.length === 50) {
      kept.reverse().forEach((one) => one.respond(JSON.stringify([one.json()[1] * 2])));
    }
  });
  const a = await s.connected('a');
  const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => a.timeout(5000).emitWithAck('keep', n)));
  assert.deepEqual(answers, Array.from({ length: 50 }, (_, n) => n * 2));
});

scene('an ack arrives once, and only where it belongs', async (s) => {
  const nats = await s.nats();
  await s.service(nats, 'sio._.on.twice', (m) => {
    m.respond('["first"]');
    m.respond('["second"]');
    nats.publish(m.reply.replace('sio._.', 'sio.chat_room.'), '["another namespace"]');
    nats.publish(m.reply, '{"no":"array"}');
  });
  const a = await s.connected('a');
  let calls = 0;
  const answer = await new Promise((resolve) => { a.emit('twice', (value) => { calls++; resolve(value); }); });
  assert.equal(answer, 'first');
  s.publish(nats, `sio._.emit.socket.${a.id}`, '["marker"]');
  await s.hear(a, 'marker');
  assert.equal(calls, 1);
});

scene('retries send an event again until it is acked, one after the other', async (s) => {
  const nats = await s.nats();
  const seen = [];
  await s.service(nats, 'sio._.on.retried', (m) => {
    seen.push(m.json()[1]);
    return seen.length < 3 ? undefined : '["ok"]'; // the first two tries go unanswered
  });
  const a = await s.connected('a', '/', { retries: 5, ackTimeout: 1000 });
  const answers = [];
  a.emit('retried', 'one', (error, answer) => answers.push(error ?? answer));
  a.emit('retried', 'two', (error, answer) => answers.push(error ?? answer));
  await until('both acks', () => answers.length === 2);
  assert.deepEqual(answers, ['ok', 'ok']);
  assert.deepEqual(seen, ['one', 'one', 'one', 'two']);
});

scene('an event waits for the connection and its ack comes then', async (s) => {
  const nats = await s.nats();
  await s.service(nats, 'sio._.on.early', () => '["done"]');
  const a = s.client('a', '/', { autoConnect: false });
  const answer = a.timeout(5000).emitWithAck('early');
  a.connect();
  assert.equal(await answer, 'done');
});
