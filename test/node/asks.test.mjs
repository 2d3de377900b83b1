// Acks that a service asks for: what a client's listener answers comes back over NATS.

import { assert, attached, scene, withHeaders } from './scene.mjs';

const bytes = (...values) => Buffer.from(values);

// askMany puts an event to a room or to all and returns the inbox of the answers.
async function askMany(s, nats, subject, body, options = {}) {
  const inbox = `_INBOX.${Math.random().toString(36).slice(2)}`;
  const answers = await s.service(nats, inbox);
  s.publish(nats, subject, body, { ...options, reply: inbox });
  return answers;
}

for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
  scene(`a client's ack over ${transports}`, async (s) => {
    const nats = await s.nats();
    const a = await s.connected('a', '/chat_room', { transports });
    a.on('ready', (value, ack) => ack('yes', { value }));
    a.on('nothing', (ack) => ack());
    a.on('later', (ack) => setImmediate(() => { ack('first'); ack('second'); }));
    const subject = `sio.chat_room.ask.socket.${a.id}`;
    for (const [event, answer] of [
      ['["ready",1]', '["yes",{"value":1}]'],
      ['["ready","가 🎉 \\"\\\\"]', '["yes",{"value":"가 🎉 \\"\\\\"}]'],
      ['["nothing"]', '[]'],
      ['["later"]', '["first"]'],
    ]) {
      assert.equal((await s.request(nats, subject, event)).string(), answer);
    }
    // No listener, or one that does not ack.
    a.on('mute', () => {});
    for (const event of ['["mute"]', '["unheard"]']) {
      const answer = await s.request(nats, subject, event, { headers: withHeaders({ 'Sio-Timeout': '50' }) });
      assert.equal(answer.headers.get('Sio-Error'), 'no answer');
    }
    // Questions and the client's own acks have numbers of their own.
    await s.service(nats, 'sio.chat_room.on.echo', (m) => JSON.stringify(m.json().slice(1)));
    const [own, asked] = await Promise.all([a.timeout(5000).emitWithAck('echo', 5), s.request(nats, subject, '["ready",6]')]);
    assert.equal(own, 5);
    assert.equal(asked.string(), '["yes",{"value":6}]');
  });

  scene(`a client's binary ack over ${transports}`, async (s) => {
    const nats = await s.nats();
    const a = await s.connected('a', '/', { transports });
    a.on('swap', (one, two, ack) => ack(two, { deep: [one] }, bytes()));
    const event = attached('["swap",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', bytes(1, 2, 3), bytes(4));
    const answer = await s.request(nats, `sio._.ask.socket.${a.id}`, event.body, { headers: event.headers });
    assert.equal(answer.headers.get('Sio-Attachments'), '1,3,0');
    const text = '[{"_placeholder":true,"num":0},{"deep":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":2}]';
    assert.deepEqual(Buffer.from(answer.data), Buffer.concat([Buffer.from(text), bytes(4, 1, 2, 3)]));
  });

  scene(`the acks of a room over ${transports}`, async (s) => {
    const nats = await s.nats();
    const clients = [];
    for (const who of ['a', 'b', 'c']) {
      const client = await s.connected(who, '/chat_room', { transports });
      client.on('who', (ack) => { if (who !== 'c') { ack(who); } });
      clients.push(client);
    }
    const [a, b, c] = clients;
    const answers = await askMany(s, nats, 'sio.chat_room.ask.all', '["who"]', { headers: withHeaders({ 'Sio-Rooms': [a.id, b.id, c.id] }) });
    const first = await answers.take('what to expect');
    assert.equal(first.headers.get('Sio-Expect'), '3');
    const from = (client) => answers.take(`the answer of ${client.id}`, (m) => m.headers.get('Sio-Socket') === client.id);
    assert.equal((await from(a)).string(), '["a"]');
    assert.equal((await from(b)).string(), '["b"]');
    await s.hear(c, 'who'); // it never acks, but it goes
    const { id } = c;
    c.disconnect();
    assert.equal((await from({ id })).headers.get('Sio-Error'), 'unknown socket');
    assert.equal(answers.rest().length, 0);
  });
}

scene('what a service keeps with a socket, and who is there', async (s) => {
  const nats = await s.nats();
  const a = await s.connected('a', '/chat_room', { query: { colour: 'blue' } });
  assert.match((await s.request(nats, `sio.chat_room.data.socket.${a.id}`, '[{"score":1}]')).string(), /^\[\{"edge":"[0-9a-z]{8}","sockets":1\}\]$/);
  const [first, socket] = (await s.request(nats, `sio.chat_room.fetch.socket.${a.id}`, '')).json();
  assert.equal(first.sockets, 1);
  assert.deepEqual({ ...socket, handshake: undefined }, { id: a.id, namespace: '/chat_room', rooms: ['room'], data: { score: 1 }, handshake: undefined });
  assert.equal(socket.handshake.query.colour, 'blue');
  assert.equal(socket.handshake.sid, a.id);
  const [, rooms] = (await s.request(nats, `sio.chat_room.rooms.socket.${a.id}`, '')).json();
  assert.deepEqual(rooms, { room: 1 });
});
