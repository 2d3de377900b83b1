// Rooms and relay rules: a chat without a service, and a NATS client that sends and receives.

import { assert, scene, withHeaders } from './scene.mjs';

const open = { ok: true };

scene('join, talk, except the sender, direct, leave', async (s) => {
  const nats = await s.nats();
  const heard = await s.service(nats, 'sio.chat_room.on.>');
  const [a, b, c] = [await s.connected('a', '/chat_room'), await s.connected('b', '/chat_room', { transports: ['polling'] }), await s.connected('c', '/chat_room')];

  // All are in `room` by auto_join.
  a.emit('message', 'hello', { from: 'a' });
  for (const other of [b, c]) {
    assert.deepEqual(await s.hear(other, 'message'), ['hello', { from: 'a' }]);
  }
  const event = await heard.take('the event', (m) => m.subject === 'sio.chat_room.on.message');
  assert.equal(event.string(), '["message","hello",{"from":"a"}]');
  assert.equal(event.reply, `sio.chat_room.emit.socket.${a.id}`);

  // Two of them go to a room of their own.
  for (const socket of [a, b]) {
    assert.deepEqual(await socket.timeout(5000).emitWithAck('join', 'lobby-1'), open);
    assert.deepEqual(await socket.timeout(5000).emitWithAck('leave', 'room'), open);
  }
  a.emit('message', 'between us');
  assert.deepEqual(await s.hear(b, 'message'), ['between us']);
  a.emit('whisper', c.id, 'only you');
  assert.deepEqual(await s.hear(c, 'whisper'), [c.id, 'only you']);
  a.emit('in-room', 'lobby-1', 'by name');
  assert.deepEqual(await s.hear(b, 'in-room'), ['lobby-1', 'by name']);
  a.emit('in-room', 'room', 'I am not in there');
  a.emit('shout', 'to all');
  for (const other of [b, c]) {
    assert.deepEqual(await s.hear(other, 'shout'), ['to all']);
  }
  assert.deepEqual([a, b, c].flatMap((socket) => s.unheard(socket)), []);

  assert.deepEqual(await b.timeout(5000).emitWithAck('leave', 'lobby-1'), open);
  a.emit('message', 'nobody is left');
  a.emit('whisper', b.id, 'marker');
  await s.hear(b, 'whisper');
  assert.deepEqual(s.unheard(b), []);

  const refused = await a.timeout(5000).emitWithAck('join', 'secret');
  assert.match(refused.error, /^not allowed: secret$/);
  assert.match((await a.timeout(5000).emitWithAck('join', 7)).error, /string/);
});

scene('who is in two of the sender’s rooms gets an event once', async (s) => {
  const [a, b] = [await s.connected('a', '/chat_room'), await s.connected('b', '/chat_room')];
  for (const socket of [a, b]) {
    assert.deepEqual(await socket.timeout(5000).emitWithAck('join', 'lobby-2'), open);
  }
  a.emit('message', 'once');
  a.emit('whisper', b.id, 'marker');
  await s.hear(b, 'whisper');
  assert.deepEqual(s.unheard(b), [['message', 'once']]);
  assert.deepEqual(s.unheard(a), []);
});

scene('a NATS client emits to a room, to all, to one, to all but one', async (s) => {
  const nats = await s.nats();
  const [a, b, c] = [await s.connected('a', '/chat_room'), await s.connected('b', '/chat_room', { transports: ['polling'] }), await s.connected('c', '/chat_room')];
  assert.deepEqual(await c.timeout(5000).emitWithAck('leave', 'room'), open);
  const say = (target, n, options) => s.publish(nats, `sio.chat_room.${target}`, `["n",${n}]`, options);

  say('emit.room.room', 1);
  say('emit.all', 2);
  say(`emit.socket.${c.id}`, 3);
  say('broadcast.room.room', 4, { reply: `sio.chat_room.emit.socket.${a.id}` });
  say('broadcast.all', 5, { reply: `sio.chat_room.ack.${b.id}.7` });
  say('emit.all', 6, { headers: withHeaders({ 'Sio-Except': ['room'] }) });
  say('emit.all', 7, { headers: withHeaders({ 'Sio-Rooms': ['room', c.id], 'Sio-Except': b.id }) });
  say('emit.room.room', 8, { headers: withHeaders({ 'Sio-Except': a.id }) });
  say('emit.all', 99);
  for (const [socket, expected] of [[a, [1, 2, 5, 7]], [b, [1, 2, 4, 8]], [c, [2, 3, 5, 6, 7]]]) {
    await s.hear(socket, 'n', (n) => n === 99);
    assert.deepEqual(s.unheard(socket).map(([, n]) => n), expected);
  }
});

scene('a NATS client joins, leaves and disconnects sockets', async (s) => {
  const nats = await s.nats();
  const [a, b] = [await s.connected('a', '/chat_room'), await s.connected('b', '/chat_room')];
  const [answer] = (await s.request(nats, `sio.chat_room.join.socket.${a.id}`, '["backstage"]')).json();
  assert.equal(answer.sockets, 1);
  assert.equal(answer.edge, a.id.split('.')[0]);
  s.publish(nats, 'sio.chat_room.emit.room.backstage', '["n",1]');
  assert.deepEqual(await s.hear(a, 'n'), [1]);
  assert.equal((await s.request(nats, 'sio.chat_room.join.room.room', '["everyone-of-room"]')).json()[0].sockets, 2);
  s.publish(nats, 'sio.chat_room.emit.room.everyone-of-room', '["n",2]');
  for (const socket of [a, b]) {
    assert.deepEqual(await s.hear(socket, 'n'), [2]);
  }
  assert.equal((await s.request(nats, 'sio.chat_room.leave.all', '["everyone-of-room"]')).json()[0].sockets, 2);
  s.publish(nats, 'sio.chat_room.emit.room.everyone-of-room', '["n",3]');
  s.publish(nats, 'sio.chat_room.emit.all', '["n",4]');
  for (const socket of [a, b]) {
    assert.deepEqual(await s.hear(socket, 'n'), [4]);
  }
  const gone = await s.request(nats, 'sio.chat_room.join.socket.aaaaaaaa.AAAAAAAAAAAAAAAAAAAA', '["x"]', { timeout: 300 }).catch((error) => error);
  assert.ok(gone instanceof Error); // no edge has that id, so there is no answer
});
