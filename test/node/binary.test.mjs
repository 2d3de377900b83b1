// Binary values, both ways, over both transports; on NATS the attachments follow the body.

import { assert, attached, scene } from './scene.mjs';

const bytes = (...values) => Buffer.from(values);
const every = Buffer.from(Array.from({ length: 256 }, (_, n) => n));

// unpacked takes a body from NATS apart: the JSON text and its attachments.
function unpacked(message) {
  const lengths = message.headers.get('Sio-Attachments').split(',').map(Number);
  let at = message.data.length - lengths.reduce((a, b) => a + b);
  const text = Buffer.from(message.data.subarray(0, at)).toString();
  return { text, attachments: lengths.map((length) => Buffer.from(message.data.subarray(at, at += length))) };
}

for (const transports of [['polling'], ['websocket']]) {
  scene(`binary over ${transports}: up`, async (s) => {
    const nats = await s.nats();
    const seen = await s.service(nats, 'sio._.on.file');
    const a = await s.connected('a', '/', { transports });
    const placeholder = (num) => ({ _placeholder: true, num });
    for (const [values, text, attachments] of [
      [[every], [placeholder(0)], [every]],
      [[new Uint8Array([1, 2, 3]).buffer], [placeholder(0)], [bytes(1, 2, 3)]],
      [[new Uint8Array([0, 1, 2, 3]).subarray(1, 3)], [placeholder(0)], [bytes(1, 2)]],
      [['a', { deep: [{ er: bytes(9) }, 'x', bytes(8, 7)] }, bytes()],
        ['a', { deep: [{ er: placeholder(0) }, 'x', placeholder(1)] }, placeholder(2)], [bytes(9), bytes(8, 7), bytes()]],
      [[Buffer.alloc(500_000, 7)], [placeholder(0)], [Buffer.alloc(500_000, 7)]],
    ]) {
      a.emit('file', ...values);
      const message = await seen.take('the file');
      assert.deepEqual(unpacked(message), { text: JSON.stringify(['file', ...text]), attachments });
    }
  });

  scene(`binary over ${transports}: down, and as an ack`, async (s) => {
    const nats = await s.nats();
    await s.service(nats, 'sio._.on.swap', (m) => {
      const { attachments } = unpacked(m);
      const answer = attached('[{"_placeholder":true,"num":0},"and",[{"_placeholder":true,"num":1}]]', ...attachments.reverse());
      m.respond(answer.body, { headers: answer.headers });
    });
    const a = await s.connected('a', '/', { transports });
    const values = await new Promise((resolve) => { a.emit('swap', bytes(1), every, (...given) => resolve(given)); });
    assert.deepEqual(values, [every, 'and', [bytes(1)]]);

    for (const [text, attachments, expected] of [
      ['["file",{"_placeholder":true,"num":0}]', [every], [every]],
      ['["file",{"a":[{"_placeholder":true,"num":1}],"b":{"_placeholder":true,"num":0}},5]', [bytes(1), bytes()], [{ a: [bytes()], b: bytes(1) }, 5]],
      ['["file",{"_placeholder":true,"num":0}]', [Buffer.alloc(500_000, 9)], [Buffer.alloc(500_000, 9)]],
    ]) {
      const { body, headers } = attached(text, ...attachments);
      nats.publish(`sio._.emit.socket.${a.id}`, body, { headers });
      assert.deepEqual(await s.hear(a, 'file'), expected);
    }
    // Events in between keep their order with those that have attachments.
    const { body, headers } = attached('["file",{"_placeholder":true,"num":0}]', bytes(5));
    s.publish(nats, `sio._.emit.socket.${a.id}`, '["plain",1]');
    nats.publish(`sio._.emit.socket.${a.id}`, body, { headers });
    s.publish(nats, `sio._.emit.socket.${a.id}`, '["plain",2]');
    await s.hear(a, 'plain', (n) => n === 2);
    assert.deepEqual(s.unheard(a), [['plain', 1], ['file', bytes(5)]]);
  });
}

scene('binary from client to client, whatever their transports', async (s) => {
  const sockets = [];
  for (const [who, transports] of [['a', ['polling']], ['b', ['websocket']], ['c', ['polling']]]) {
    sockets.push(await s.connected(who, '/chat_room', { transports }));
  }
  for (const sender of sockets) {
    sender.emit('message', { picture: every }, [bytes(1), bytes(2)]);
    for (const receiver of sockets.filter((socket) => socket !== sender)) {
      assert.deepEqual(await s.hear(receiver, 'message'), [{ picture: every }, [bytes(1), bytes(2)]]);
    }
  }
  assert.deepEqual(sockets.flatMap((socket) => s.unheard(socket)), []);
});

scene('what would break a client is dropped before it', async (s) => {
  const nats = await s.nats();
  const a = await s.connected('a');
  const address = `sio._.emit.socket.${a.id}`;
  for (const body of ['', '[]', '[null]', '{}', '["connect"]', '["disconnect","x"]', '["cut', 'text', '["a"] ["b"]']) {
    s.publish(nats, address, body);
  }
  for (const [text, ...attachments] of [['["file",{"_placeholder":true,"num":1}]', bytes(1)], ['[]', bytes(1)]]) {
    const { body, headers } = attached(text, ...attachments);
    nats.publish(address, body, { headers });
  }
  s.publish(nats, address, '["marker"]');
  await s.hear(a, 'marker');
  assert.deepEqual(s.unheard(a), []);
  assert.ok(a.connected);
});
