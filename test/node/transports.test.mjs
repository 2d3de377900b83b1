// The three ways to be connected: polling, WebSocket, and polling that becomes WebSocket.

import { assert, scene, until } from './scene.mjs';

for (const [name, transports, last] of [
  ['polling', ['polling'], 'polling'],
  ['WebSocket only', ['websocket'], 'websocket'],
  ['polling, then WebSocket', ['polling', 'websocket'], 'websocket'],
]) {
  scene(`${name}: events both ways, and acks`, async (s) => {
    const nats = await s.nats();
    await s.service(nats, 'sio._.on.sum', (m) => JSON.stringify([m.json().slice(1).reduce((a, b) => a + b)]));
    const a = await s.connected('a', '/', { transports });
    await until(`the transport ${last}`, () => a.io.engine.transport.name === last);
    assert.equal(await a.timeout(5000).emitWithAck('sum', 1, 2, 3), 6);
    s.publish(nats, `sio._.emit.socket.${a.id}`, '["news",{"text":"가 🎉 \\u001e","list":[1,null,true]}]');
    assert.deepEqual(await s.hear(a, 'news'), [{ text: '가 🎉 \u001e', list: [1, null, true] }]);
  });

  scene(`${name}: everything arrives once and in order from the first moment on`, async (s) => {
    const nats = await s.nats();
    const heard = [];
    await s.service(nats, 'sio._.on.count', (m) => { heard.push(m.json()[1]); });
    const a = s.client('a', '/', { transports });
    const received = [];
    a.on('down', (n) => received.push(n));
    await s.hear(a, 'connect');
    let sent = 0;
    await until('the transport and 60 messages', () => {
      a.emit('count', sent);
      s.publish(nats, `sio._.emit.socket.${a.id}`, `["down",${sent}]`);
      sent++;
      return sent >= 60 && a.io.engine.transport.name === last;
    });
    const all = Array.from({ length: sent }, (_, n) => n);
    await until('all messages up', () => heard.length >= sent);
    await until('all messages down', () => received.length >= sent);
    assert.deepEqual(heard, all);
    assert.deepEqual(received, all);
  });
}

scene('a path without its last slash, a query and headers', async (s) => {
  const nats = await s.nats();
  const connects = await s.service(nats, 'sio._.on.connect');
  for (const transports of [['polling'], ['websocket']]) {
    const a = await s.connected('a', '/', {
      transports, addTrailingSlash: false, query: { token: 'a b&c' }, extraHeaders: { 'X-Client': 'official' },
    });
    const message = await connects.take('the notice', (m) => m.json()[1].sid === a.id);
    const [, handshake] = message.json();
    assert.equal(handshake.query.token, 'a b&c');
    assert.equal(handshake.query.transport, transports[0]);
    assert.equal(handshake.query.EIO, '4');
    assert.equal(handshake.headers['x-client'], 'official');
    assert.match(handshake.url, /^\/socket\.io\?/);
    assert.equal(message.reply, `sio._.emit.socket.${a.id}`);
  }
});

scene('a message near the largest payload, and one beyond it', async (s) => {
  const nats = await s.nats();
  await s.service(nats, 'sio._.on.length', (m) => JSON.stringify([m.json()[1].length]));
  for (const transports of [['polling'], ['websocket']]) {
    const a = await s.connected('a', '/', { transports });
    assert.equal(await a.timeout(5000).emitWithAck('length', 'x'.repeat(600_000)), 600_000);
    assert.equal(await a.timeout(5000).emitWithAck('length', '채'.repeat(200_000)), 200_000);
    a.emit('length', 'x'.repeat(1_100_000));
    const [reason] = await s.hear(a, 'disconnect');
    // As with the reference server: a POST is refused with 413, a WebSocket is closed.
    assert.equal(reason, transports[0] === 'polling' ? 'transport error' : 'transport close');
    await s.hear(a, 'connect');
  }
});
