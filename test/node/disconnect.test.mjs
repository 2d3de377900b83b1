// The ends of a socket, from either side, and the reasons that both sides get.

import { assert, scene, until } from './scene.mjs';

for (const transports of [['polling'], ['websocket']]) {
  scene(`the client disconnects (${transports})`, async (s) => {
    const nats = await s.nats();
    const notices = await s.service(nats, 'sio.chat_room.on.disconnect');
    const a = await s.connected('a', '/chat_room', { transports });
    const { id } = a;
    assert.deepEqual(await a.timeout(5000).emitWithAck('join', 'lobby-9'), { ok: true });
    a.disconnect();
    assert.deepEqual((await s.hear(a, 'disconnect'))[0], 'io client disconnect');
    assert.equal(a.active, false);
    const notice = await notices.take('the notice', (m) => m.reply === `sio.chat_room.emit.socket.${id}`);
    const [event, { reason, rooms }] = notice.json();
    assert.equal(event, 'disconnect');
    assert.equal(reason, 'client namespace disconnect');
    assert.deepEqual(rooms.sort(), ['lobby-9', 'room']);
  });

  scene(`a service disconnects a socket, and a whole connection (${transports})`, async (s) => {
    const nats = await s.nats();
    const notices = await s.service(nats, 'sio.*.on.disconnect');
    const noticed = async (subject, id) => (await notices.take('the notice', (m) => m.reply === `${subject}.emit.socket.${id}`)).json()[1].reason;
    const manager = s.manager('one', { transports });
    const root = s.watch('root', manager.socket('/'));
    const chat = s.watch('chat', manager.socket('/chat_room'));
    await s.hear(root, 'connect');
    await s.hear(chat, 'connect');
    let { id } = chat;
    assert.equal((await s.request(nats, `sio.chat_room.disconnect.socket.${id}`, '')).json()[0].sockets, 1);
    assert.equal((await s.hear(chat, 'disconnect'))[0], 'io server disconnect');
    assert.equal(await noticed('sio.chat_room', id), 'server namespace disconnect');
    assert.equal(chat.active, false); // such a socket reconnects only if the application calls connect
    assert.ok(root.connected);
    chat.connect();
    await s.hear(chat, 'connect');
    assert.notEqual(chat.id, id);

    id = root.id;
    await s.request(nats, `sio._.disconnect.socket.${id}`, '[true]');
    assert.equal((await s.hear(root, 'disconnect'))[0], 'io server disconnect');
    assert.equal((await s.hear(chat, 'disconnect'))[0], 'io server disconnect');
    assert.equal(await noticed('sio._', id), 'server namespace disconnect');
    await until('the end of the connection', () => manager.engine.readyState === 'closed');
    root.connect();
    await s.hear(root, 'connect');
  });

  scene(`a service closes a transport, and the client comes back (${transports})`, async (s) => {
    const nats = await s.nats();
    const a = await s.connected('a', '/chat_room', { transports });
    const { id } = a;
    assert.equal((await s.request(nats, `sio.chat_room.disconnect.socket.${id}`, '["close"]')).json()[0].sockets, 1);
    assert.equal((await s.hear(a, 'disconnect'))[0], 'transport close');
    assert.equal(a.active, true); // it reconnects by itself
    await s.hear(a, 'connect');
    assert.notEqual(a.id, id);
  });

  scene(`the transport ends, and the client comes back (${transports})`, async (s) => {
    const nats = await s.nats();
    const notices = await s.service(nats, 'sio._.on.disconnect');
    const a = await s.connected('a', '/', { transports });
    const { id } = a;
    const reconnected = new Promise((resolve) => { a.io.on('reconnect', resolve); });
    a.io.engine.close();
    assert.equal((await s.hear(a, 'disconnect'))[0], 'forced close');
    assert.equal(a.active, true);
    const notice = await notices.take('the notice', (m) => m.reply === `sio._.emit.socket.${id}`);
    assert.equal(notice.json()[1].reason, 'transport close');
    await s.hear(a, 'connect');
    assert.equal(await reconnected, 1);
    assert.notEqual(a.id, id);
  });
}

scene('a packet that nothing can decode ends the connection, and the client comes back', async (s) => {
  const nats = await s.nats();
  const notices = await s.service(nats, 'sio._.on.disconnect');
  for (const [packet, reason] of [['2[]', 'forced close'], ['2/never,["x"]', 'forced server close'], ['0', 'forced server close'], ['9', 'forced close']]) {
    const a = await s.connected('a');
    const { id } = a;
    a.io.engine.write(packet);
    assert.equal((await s.hear(a, 'disconnect'))[0], 'transport close');
    const notice = await notices.take('the notice', (m) => m.reply === `sio._.emit.socket.${id}`);
    assert.equal(notice.json()[1].reason, reason, packet);
    await s.hear(a, 'connect');
  }
});
