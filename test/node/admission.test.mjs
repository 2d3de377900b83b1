// A service that admits or refuses: auth payloads, CONNECT_ERROR with data, the rooms and the user that it gives.

import { assert, scene, withHeaders } from './scene.mjs';

scene('auth, as an object and as a function, decides', async (s) => {
  const nats = await s.nats();
  const asked = await s.service(nats, 'sio.admitted.on.connect', (m) => {
    const [, { auth, sid }] = m.json();
    if (auth.token !== 'right') {
      m.respond(JSON.stringify([{ code: 'E_TOKEN', given: auth.token ?? null, details: [1, { x: '가' }] }]), { headers: withHeaders({ 'Sio-Error': 'not authorized: 가' }) });
      return undefined;
    }
    m.respond(JSON.stringify([{ rooms: ['vip'], user: 'eve', data: { level: 3 } }]));
    nats.publish(`sio.admitted.emit.socket.${sid}`, '["welcome",1]');
    nats.publish(`sio.admitted.emit.socket.${sid}`, '["welcome",2]');
    nats.publish(`sio.admitted.emit.socket.${sid}`, '["welcome",3]');
    return undefined;
  });
  for (const transports of [['polling'], ['websocket']]) {
    const a = s.client('a', '/admitted', { transports, auth: { token: 'wrong' } });
    const [error] = await s.hear(a, 'connect_error');
    assert.ok(error instanceof Error);
    assert.equal(error.message, 'not authorized: 가');
    assert.deepEqual(error.data, { code: 'E_TOKEN', given: 'wrong', details: [1, { x: '가' }] });
    assert.equal(a.active, false);
    assert.equal(a.id, undefined);

    a.auth = (give) => give({ token: 'right' }); // the way that the documentation shows
    a.connect();
    await s.hear(a, 'connect');
    for (const n of [1, 2, 3]) {
      assert.deepEqual(await s.hear(a, 'welcome'), [n]);
    }
    assert.deepEqual(s.unheard(a), []);
    s.publish(nats, 'sio.admitted.emit.room.vip', '["to vip"]');
    await s.hear(a, 'to vip');

    const message = await asked.take('the request', (m) => m.json()[1].sid === a.id);
    assert.equal(message.reply, `sio.admitted.ack.${a.id}.connect`);
    const [event, { sid, issued, time, ...handshake }] = message.json();
    assert.equal(event, 'connect');
    assert.equal(sid, a.id);
    assert.deepEqual(handshake.auth, { token: 'right' });
    assert.equal(handshake.headers.host, new URL(a.io.uri).host);
    assert.equal(handshake.address, '127.0.0.1');
    assert.equal(handshake.secure, a.io.uri.startsWith('https:'));
    assert.equal(handshake.xdomain, false);
    assert.ok(Math.abs(Date.now() - issued) < 60_000);
    assert.ok(Math.abs(Date.parse(time) - issued) < 2000, time);
  }
});

scene('the user stands in a header of what its socket says', async (s) => {
  const nats = await s.nats();
  await s.service(nats, 'sio.admitted.on.connect', () => '[{"user":"eve"}]');
  const said = await s.service(nats, 'sio.admitted.on.hello', () => '["hi"]');
  const a = await s.connected('a', '/admitted');
  assert.equal(await a.timeout(5000).emitWithAck('hello'), 'hi');
  assert.equal((await said.take('the event')).headers.get('Sio-User'), 'eve');
});

scene('a stream that records connects says nothing about them', async (s) => {
  const nats = await s.nats();
  await s.service(nats, 'sio.admitted.on.connect', (m) => {
    m.respond('{"stream":"events","seq":1}'); // a PubAck, as JetStream would send it
    return '[{}]';
  });
  await s.connected('a', '/admitted');
});

scene('an empty admission, and a refusal without data', async (s) => {
  const nats = await s.nats();
  let answer = (m) => m.respond('[{}]');
  await s.service(nats, 'sio.admitted.on.connect', (m) => { answer(m); });
  await s.connected('a', '/admitted');
  answer = (m) => m.respond('', { headers: withHeaders({ 'Sio-Error': 'closed today' }) });
  const refused = s.client('b', '/admitted');
  const [error] = await s.hear(refused, 'connect_error');
  assert.equal(error.message, 'closed today');
  assert.equal(error.data, undefined);
});

scene('where waiting is not wanted: no service, one that is too slow; and one that answers nonsense', async (s) => {
  const alone = s.client('a', '/hasty');
  assert.equal((await s.hear(alone, 'connect_error'))[0].message, 'no service');
  assert.equal(alone.active, false);

  const nats = await s.nats();
  const slow = await s.service(nats, 'sio.hasty.on.connect');
  const late = s.client('b', '/hasty');
  assert.equal((await s.hear(late, 'connect_error'))[0].message, 'service timeout');
  (await slow.take('the request')).respond('[{}]'); // it comes too late and changes nothing

  await s.service(nats, 'sio.admitted.on.connect', () => '["yes"]');
  const confused = s.client('c', '/admitted');
  assert.equal((await s.hear(confused, 'connect_error'))[0].message, 'invalid answer');
  assert.ok(!late.connected);
});

scene('one namespace refuses, its neighbour on the same connection stays', async (s) => {
  const nats = await s.nats();
  await s.service(nats, 'sio.admitted.on.connect', (m) => { m.respond('', { headers: withHeaders({ 'Sio-Error': 'no' }) }); });
  const manager = s.manager('one');
  const root = s.watch('root', manager.socket('/'));
  const admitted = s.watch('admitted', manager.socket('/admitted'));
  await s.hear(root, 'connect');
  assert.equal((await s.hear(admitted, 'connect_error'))[0].message, 'no');
  s.publish(nats, `sio._.emit.socket.${root.id}`, '["marker"]');
  await s.hear(root, 'marker');
});
