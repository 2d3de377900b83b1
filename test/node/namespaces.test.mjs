// Several namespaces, on one connection and by unusual names.

import { assert, scene } from './scene.mjs';

scene('several namespaces share one connection and nothing else', async (s) => {
  const nats = await s.nats();
  const manager = s.manager('one');
  const root = s.watch('root', manager.socket('/'));
  const chat = s.watch('chat', manager.socket('/chat_room'));
  const other = s.watch('other', manager.socket('/names/deep/채팅'));
  const sockets = [root, chat, other];
  for (const socket of sockets) {
    await s.hear(socket, 'connect');
  }
  assert.equal(new Set(sockets.map((socket) => socket.io.engine)).size, 1);
  assert.equal(new Set(sockets.map((socket) => socket.id)).size, 3);

  for (const subject of ['sio._', 'sio.chat_room', 'sio.names/deep/채팅']) {
    s.publish(nats, `${subject}.emit.all`, JSON.stringify(['message', subject]));
  }
  assert.deepEqual(await s.hear(root, 'message'), ['sio._']);
  assert.deepEqual(await s.hear(chat, 'message'), ['sio.chat_room']);
  assert.deepEqual(await s.hear(other, 'message'), ['sio.names/deep/채팅']);
  assert.deepEqual(sockets.flatMap((socket) => s.unheard(socket)), []);

  chat.disconnect();
  assert.deepEqual(await s.hear(chat, 'disconnect'), ['io client disconnect', undefined]);
  s.publish(nats, 'sio._.emit.all', '["message","still here"]');
  assert.deepEqual(await s.hear(root, 'message'), ['still here']);
  assert.ok(root.connected && other.connected && !chat.connected);

  const before = chat.id;
  chat.connect();
  await s.hear(chat, 'connect');
  assert.notEqual(chat.id, before);
  s.publish(nats, `sio.chat_room.emit.socket.${chat.id}`, '["message","welcome back"]');
  assert.deepEqual(await s.hear(chat, 'message'), ['welcome back']);
});

scene('a namespace that is not declared', async (s) => {
  const nobody = s.client('nobody', '/undeclared');
  const [error] = await s.hear(nobody, 'connect_error');
  assert.equal(error.message, 'Invalid namespace');
  assert.equal(error.data, undefined);
  assert.equal(nobody.active, false); // it will not reconnect by itself
});

scene('a query in the namespace’s URL', async (s) => {
  const nats = await s.nats();
  const connects = await s.service(nats, 'sio.chat_room.on.connect');
  const a = await s.connected('a', '/chat_room?token=abc');
  const [, handshake] = (await connects.take('the notice', (m) => m.json()[1].sid === a.id)).json();
  assert.equal(handshake.query.token, 'abc');
});

scene('names of events and namespaces become subjects', async (s) => {
  const nats = await s.nats();
  const seen = await s.service(nats, 'sio.>', () => undefined);
  const a = await s.connected('a', '/names/a.b');
  for (const [event, token] of [
    ['order.123', 'order.123'], ['two words', 'two%20words'], ['all', '%61ll'], ['room.x', '%72oom.x'], ['*', '%2A'], ['>', '%3E'],
    ['', '%'], ['.', '%2E'], ['a..b', 'a.%2Eb'], ['50%', '50%25'], ['가🎉', '가🎉'], ['message', 'message'], [7, '7'],
  ]) {
    a.emit(event, 'x');
    const message = await seen.take(`the event ${event}`, (m) => m.string() === JSON.stringify([event, 'x']));
    assert.equal(message.subject, `sio.names/a%2Eb.on.${token}`);
    assert.equal(message.reply, `sio.names/a%2Eb.emit.socket.${a.id}`);
    assert.equal(message.headers, undefined);
  }
  for (const reserved of ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener']) {
    assert.throws(() => a.emit(reserved), /reserved event name/);
  }
});
