// The official client as Chromium runs it: transports, binary values, namespaces, admission, disconnects.

import { assert, attached, browserScene, until, withHeaders } from './tabs.mjs';

const html = `<!doctype html><title>client</title><script src="/socket.io/socket.io.js"></script><script>
let heard = [];
function start(namespace, options) {
  const socket = io(namespace, { forceNew: true, reconnectionDelay: 50, ...options });
  for (const event of ['connect', 'disconnect', 'connect_error']) {
    socket.on(event, (why) => heard.push([event, why && why.message ? { message: why.message, data: why.data } : why]));
  }
  socket.onAny((...values) => heard.push(values.map(plain)));
  return socket;
}
function plain(value) {
  if (value instanceof ArrayBuffer) return 'bytes:' + [...new Uint8Array(value)].join();
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
  return value;
}
</script>`;

const hears = (tab, event) => until(event, () => tab.evaluate((name) => {
  const at = heard.findIndex(([e]) => e === name);
  return at < 0 ? null : heard.splice(at, 1)[0];
}, event));

for (const [transports, last] of [[['polling'], 'polling'], [['websocket'], 'websocket'], [['polling', 'websocket'], 'websocket']]) {
  browserScene(`over ${transports.join(', then ')}`, async (s, window) => {
    await window.serve('/client.html', html);
    if (last === 'polling') { // a poll that begins after the client's close is too late
      window.expected.push(/status of 400/);
    } else if (transports.length > 1) { // the client closes a WebSocket that still connects when its session ends
      window.expected.push(/is closed before the connection is established/);
    }
    const nats = await s.nats();
    const files = await s.service(nats, 'sio._.on.file', (m) => {
      const answer = attached('[{"_placeholder":true,"num":0},"ok"]', Buffer.from([9, 8]));
      m.respond(answer.body, { headers: answer.headers });
    });
    const tab = await window.open('tab', '/client.html');
    await tab.evaluate((list) => { window.socket = start('/', { transports: list }); }, transports);
    await hears(tab, 'connect');
    await until(`the transport ${last}`, () => tab.evaluate((name) => socket.io.engine.transport.name === name, last));
    const id = await tab.evaluate('socket.id');

    const ack = await tab.evaluate(() => new Promise((resolve) => {
      socket.emit('file', new Uint8Array([1, 2]).buffer, { deep: [new Uint8Array([3]), new Blob(['blob'])] }, '가', (...values) => resolve(values.map(plain)));
    }));
    assert.deepEqual(ack, ['bytes:9,8', 'ok']);
    const file = await files.take('the file');
    assert.equal(file.headers.get('Sio-Attachments'), '2,1,4');
    assert.equal(Buffer.from(file.data).toString('latin1'),
      `${Buffer.from('["file",{"_placeholder":true,"num":0},{"deep":[{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}]},"가"]').toString('latin1')}\x01\x02\x03blob`);

    const down = attached('["down",[{"_placeholder":true,"num":1}],{"a":{"_placeholder":true,"num":0}},"가 🎉"]', Buffer.from([1]), Buffer.from([255, 0]));
    nats.publish(`sio._.emit.socket.${id}`, down.body, { headers: down.headers });
    assert.deepEqual(await hears(tab, 'down'), ['down', ['bytes:255,0'], { a: 'bytes:1' }, '가 🎉']);

    await tab.evaluate('socket.compress(false).emit("message", "x".repeat(5000)); socket.volatile.emit("tick")');
    await s.request(nats, `sio._.disconnect.socket.${id}`, '');
    assert.deepEqual(await hears(tab, 'disconnect'), ['disconnect', 'io server disconnect']);
    await tab.evaluate('socket.connect()');
    await hears(tab, 'connect');
    await tab.evaluate('socket.io.engine.close()');
    assert.deepEqual(await hears(tab, 'disconnect'), ['disconnect', 'forced close']);
    await hears(tab, 'connect'); // by itself
    await tab.evaluate('socket.disconnect()');
    assert.deepEqual(await hears(tab, 'disconnect'), ['disconnect', 'io client disconnect']);
  });
}

for (const transports of [['polling'], ['polling', 'websocket']]) {
  browserScene(`the msgpack build over ${transports.join(', then ')}`, async (s, window) => {
    await window.serve('/msgpack.html', html.replace('socket.io.js', 'socket.io.msgpack.min.js'));
    const nats = await s.nats();
    const files = await s.service(nats, 'sio._.on.file', (m) => {
      const answer = attached('[{"_placeholder":true,"num":0},"ok"]', Buffer.from([9, 8]));
      m.respond(answer.body, { headers: answer.headers });
    });
    const tab = await window.open('tab', '/msgpack.html');
    await tab.evaluate((list) => { window.socket = start('/', { transports: list }); }, transports);
    await hears(tab, 'connect');
    await until('the last transport', () => tab.evaluate((name) => socket.io.engine.transport.name === name, transports.at(-1)));
    const ack = await tab.evaluate(() => new Promise((resolve) => {
      socket.emit('file', new Uint8Array([1, 2]).buffer, { at: new Date(0), none: undefined }, '가', -1.5, (...values) => resolve(values.map(plain)));
    }));
    assert.deepEqual(ack, ['bytes:9,8', 'ok']);
    const file = await files.take('the file');
    assert.equal(file.headers.get('Sio-Attachments'), '2');
    assert.equal(file.string(), '["file",{"_placeholder":true,"num":0},{"at":"1970-01-01T00:00:00.000Z"},"가",-1.5]\u0001\u0002');
    const down = attached('["down",[{"_placeholder":true,"num":0}],{"a":[1e2,null]},"가 🎉"]', Buffer.from([255, 0]));
    nats.publish('sio._.emit.all', down.body, { headers: down.headers });
    assert.deepEqual(await hears(tab, 'down'), ['down', ['bytes:255,0'], { a: [100, null] }, '가 🎉']);
    await tab.evaluate('socket.disconnect()');
    assert.deepEqual(await hears(tab, 'disconnect'), ['disconnect', 'io client disconnect']);
  });
}

browserScene('namespaces on one connection, auth, CONNECT_ERROR with data', async (s, window) => {
  await window.serve('/client.html', html);
  const nats = await s.nats();
  await s.service(nats, 'sio.admitted.on.connect', (m) => {
    const [, { auth, headers }] = m.json();
    if (auth.token !== 'right' || !headers['user-agent'].includes('Chrome')) {
      m.respond('[{"code":7}]', { headers: withHeaders({ 'Sio-Error': 'wrong token' }) });
      return undefined;
    }
    return '[{"rooms":["vip"]}]';
  });
  const tab = await window.open('tab', '/client.html');
  await tab.evaluate(() => {
    window.root = start('/', { forceNew: false });
    window.admitted = start('/admitted', { forceNew: false, auth: { token: 'wrong' } });
  });
  await hears(tab, 'connect');
  assert.deepEqual(await hears(tab, 'connect_error'), ['connect_error', { message: 'wrong token', data: { code: 7 } }]);
  assert.equal(await tab.evaluate('root.io === admitted.io'), true);
  await tab.evaluate(() => { admitted.auth = { token: 'right' }; admitted.connect(); });
  await hears(tab, 'connect');
  s.publish(nats, 'sio.admitted.emit.room.vip', '["welcome"]');
  await hears(tab, 'welcome');
});
