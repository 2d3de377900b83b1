// Clients with socket.io-msgpack-parser beside those with the default parser: to services and to one another they are the
// same. Each scene runs over each transport.

import parser from 'socket.io-msgpack-parser';
import { assert, attached, scene, until, withHeaders } from './scene.mjs';

const bytes = (...values) => Buffer.from(values);
const every = Buffer.from(Array.from({ length: 256 }, (_, n) => n));

for (const [name, transports] of [['polling', ['polling']], ['WebSocket', ['websocket']], ['an upgrade', ['polling', 'websocket']]]) {
  const options = { parser, transports };
  const over = (what, play) => scene(`${what}, over ${name}`, play);

  // Whatever a client emits, NATS has the same message as from a JSON client.
  over('every kind of value, up', async (s) => {
    const nats = await s.nats();
    const seen = await s.service(nats, 'sio._.on.values');
    const packed = await s.connected('packed', '/', options);
    const plain = await s.connected('plain', '/');
    class Point { constructor() { this.x = 1; this.hidden = () => 1; } }
    const values = [
      [], [null, true, false], [0, 1, -1, 127, 128, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER],
      [-0, -32, -33, -128, -129, -32768, -32769, -(2 ** 31), -(2 ** 31) - 1, Number.MIN_SAFE_INTEGER],
      [0.1, -1.5, 1e-7, 5e-324, 123456.789, 0.000001], [NaN, Infinity, -Infinity],
      ['', 'line\u2028\n\0 "\\/\b\f\t\r\x1f\x7f', '한글', '\u{1F600}', '<script>&', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(70_000)],
      [undefined], [[undefined, 1]], [{ a: undefined, b: 1 }], [{ a: undefined }], [{}], [[[[{}]]]],
      [new Date(0), new Date(1234567890123), new Date(-1), new Date(8.64e15), new Date(-8.64e15), { at: new Date(5) }],
      [{ 'a.b': [[[{}]]], 1: 'one', '': 'empty', 'ключ': 1 }], [{ toJSON: () => ({ from: 'toJSON' }) }], [new Point()],
      [Array.from({ length: 20 }, (_, n) => n)], [Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`k${n}`, n]))],
      [every], [bytes()], [{ deep: [{ er: bytes(9) }, 'x', bytes(8, 7)] }, bytes(1)], [new Uint8Array([1, 2, 3]).buffer],
      [Array.from({ length: 10 }, (_, n) => bytes(n))], [Buffer.alloc(70_000, 7)],
    ];
    for (const value of values) {
      packed.emit('values', ...value);
      const one = await seen.take('the event of the one');
      plain.emit('values', ...value);
      const other = await seen.take('the event of the other');
      assert.equal(Buffer.from(one.data).toString('latin1'), Buffer.from(other.data).toString('latin1'));
      assert.deepEqual(one.headers?.values('Sio-Attachments'), other.headers?.values('Sio-Attachments'));
      assert.equal(one.reply, `sio._.emit.socket.${packed.id}`);
    }
  });

  // Whatever a service emits, both clients hear the same.
  over('every kind of value, down', async (s) => {
    const nats = await s.nats();
    const packed = await s.connected('packed', '/', options);
    const plain = await s.connected('plain', '/');
    for (const body of [
      '["values"]', '["values",null,true,false,[],{},[[]],{"a":{"b":[{}]}}]', ' [ "values" , { "a" : 1.0 , "b" : [ 1e2 , -0 ] } ] ',
      '["values",0,127,128,255,256,65535,65536,4294967295,4294967296,9007199254740993,18446744073709551615,18446744073709551616]',
      '["values",-1,-32,-33,-128,-129,-32768,-32769,-2147483648,-2147483649,-9223372036854775808,0.1,-1.5e300,5e-324,1e400]',
      JSON.stringify(['values', '', 'line\u2028\n\0 "\\/\b\f\t\r\x1f\x7f', '한글', '\u{1F600}', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(70_000)]),
      '["values","\\u00e9\\ud83d\\ude00\\/"]', '["values",{"a":1,"a":2}]', '["values",{"_placeholder":true,"num":0}]',
      JSON.stringify(['values', Array.from({ length: 70_000 }, (_, n) => n % 3)]), '["values","2024-01-01T00:00:00.000Z"]',
      JSON.stringify(['values', Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`k${n}`, n]))]),
    ]) {
      s.publish(nats, 'sio._.emit.all', body);
      const [one, other] = [await s.hear(packed, 'values'), await s.hear(plain, 'values')];
      assert.deepEqual(one, other);
    }
    for (const [text, attachments] of [
      ['["values",{"_placeholder":true,"num":0}]', [every]],
      ['["values",{"a":[{"_placeholder":true,"num":1}],"b":{"num":0,"_placeholder":true}},5]', [bytes(1), bytes()]],
      ['["values",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0},{"_placeholder":false,"num":9}]', [bytes(1, 2)]],
      ['["values",{"_placeholder":true,"num":0}]', [Buffer.alloc(500_000, 9)]],
      ['["values"]', [bytes(1)]],
    ]) {
      const { body, headers } = attached(text, ...attachments);
      nats.publish('sio._.emit.all', body, { headers });
      const [one, other] = [await s.hear(packed, 'values'), await s.hear(plain, 'values')];
      assert.deepEqual(one, other);
    }
    s.publish(nats, 'sio._.emit.all', '[7,"a number"]');
    assert.deepEqual(await s.hear(packed, 7), ['a number']);
  });

  over('acks, both ways', async (s) => {
    const nats = await s.nats();
    await s.service(nats, 'sio._.on.sum', (m) => JSON.stringify([m.json().slice(1).reduce((a, b) => a + b)]));
    await s.service(nats, 'sio._.on.swap', (m) => {
      const answer = attached('[{"_placeholder":true,"num":0},"and",null]', Buffer.from(m.data.subarray(-2)));
      m.respond(answer.body, { headers: answer.headers });
    });
    const a = await s.connected('a', '/', options);
    assert.equal(await a.timeout(5000).emitWithAck('sum', 1, 2, 3), 6);
    assert.deepEqual(await new Promise((resolve) => { a.emit('swap', bytes(1, 2), (...values) => resolve(values)); }), [bytes(1, 2), 'and', null]);
    const last = (given) => given[given.length - 1];
    a.on('question', (...given) => last(given)('yes', bytes(5), { at: undefined }));
    const answer = await s.request(nats, `sio._.ask.socket.${a.id}`, '["question",1]');
    assert.equal(answer.headers.get('Sio-Attachments'), '1');
    assert.equal(Buffer.from(answer.data).toString(), '["yes",{"_placeholder":true,"num":0},{}]\u0005');
  });

  over('admitted and refused, in several namespaces of one connection', async (s) => {
    const nats = await s.nats();
    const asked = await s.service(nats, 'sio.admitted.on.connect', (m) => {
      const [, { auth }] = m.json();
      if (auth.token !== 'right') {
        m.respond('[{"code":402}]', { headers: withHeaders({ 'Sio-Error': 'wrong token' }) });
        return undefined;
      }
      return '[{"rooms":["news"],"user":"ann"}]';
    });
    const manager = s.manager('a', options);
    const refused = s.watch('refused', manager.socket('/admitted', { auth: { token: 'wrong', at: new Date(0), none: undefined } }));
    const [error] = await s.hear(refused, 'connect_error');
    assert.equal(error.message, 'wrong token');
    assert.deepEqual(error.data, { code: 402 });
    assert.deepEqual((await asked.take('the request')).json()[1].auth, { token: 'wrong', at: '1970-01-01T00:00:00.000Z' });
    const nowhere = s.watch('nowhere', manager.socket('/not-declared'));
    assert.equal((await s.hear(nowhere, 'connect_error'))[0].message, 'Invalid namespace');
    refused.auth = { token: 'right' };
    refused.connect();
    await s.hear(refused, 'connect');
    const room = s.watch('room', manager.socket('/chat_room'));
    await s.hear(room, 'connect');
    s.publish(nats, 'sio.admitted.emit.room.news', '["news",1]');
    assert.deepEqual(await s.hear(refused, 'news'), [1]);
    s.publish(nats, 'sio.chat_room.emit.all', '["news",2]');
    assert.deepEqual(await s.hear(room, 'news'), [2]);
    const gone = await s.service(nats, 'sio.*.on.disconnect');
    await s.request(nats, `sio.admitted.disconnect.socket.${refused.id}`, '');
    assert.equal((await s.hear(refused, 'disconnect'))[0], 'io server disconnect');
    room.disconnect();
    const reasons = [(await gone.take('a notice')).json()[1].reason, (await gone.take('a notice')).json()[1].reason];
    assert.deepEqual(reasons, ['server namespace disconnect', 'client namespace disconnect']);
  });

  over('one room with JSON clients', async (s) => {
    const sockets = [
      await s.connected('a', '/chat_room', options), await s.connected('b', '/chat_room', { transports: ['websocket'] }),
      await s.connected('c', '/chat_room', { transports: ['polling'] }), await s.connected('d', '/chat_room', { parser }),
    ];
    for (const socket of sockets) {
      assert.deepEqual(await socket.timeout(5000).emitWithAck('join', 'lobby-1'), { ok: true });
      assert.match((await socket.timeout(5000).emitWithAck('join', 'secret')).error, /^not allowed: secret$/);
    }
    for (const sender of sockets) {
      sender.emit('message', { picture: every, at: new Date(0), none: undefined }, [bytes(1), undefined]);
      for (const receiver of sockets.filter((socket) => socket !== sender)) {
        assert.deepEqual(await s.hear(receiver, 'message'), [{ picture: every, at: '1970-01-01T00:00:00.000Z' }, [bytes(1), null]]);
      }
      sender.emit('in-room', 'lobby-1', sender.id);
      for (const receiver of sockets.filter((socket) => socket !== sender)) {
        assert.deepEqual(await s.hear(receiver, 'in-room'), ['lobby-1', sender.id]);
      }
    }
    sockets[0].emit('whisper', sockets[1].id, 'psst');
    assert.deepEqual(await s.hear(sockets[1], 'whisper'), [sockets[1].id, 'psst']);
    sockets[1].emit('whisper', sockets[0].id, 'psst');
    assert.deepEqual(await s.hear(sockets[0], 'whisper'), [sockets[0].id, 'psst']);
    assert.deepEqual(sockets.flatMap((socket) => s.unheard(socket)), []);
  });

  over('what would break a client is dropped before it', async (s) => {
    const nats = await s.nats();
    const a = await s.connected('a', '/', options);
    const last = transports.at(-1);
    await until(`the transport ${last}`, () => a.io.engine.transport.name === last);
    for (const body of ['', '[]', '[null]', '{}', '["connect"]', '["cut', '["a"] ["b"]', '["file",{"_placeholder":true,"num":1}]']) {
      const { headers } = attached('', bytes(1));
      nats.publish(`sio._.emit.socket.${a.id}`, Buffer.from(`${body}x`), { headers });
      if (!body.includes('file')) {
        s.publish(nats, `sio._.emit.socket.${a.id}`, body);
      }
    }
    s.publish(nats, `sio._.emit.socket.${a.id}`, '["marker"]');
    await s.hear(a, 'marker');
    assert.deepEqual(s.unheard(a), []);
    assert.ok(a.connected);
  });
}

scene('eleven attachments, and text behind msgpack, end the session', async (s) => {
  const nats = await s.nats();
  const gone = await s.service(nats, 'sio._.on.disconnect');
  const a = await s.connected('a', '/', { parser, reconnection: false });
  a.emit('file', Array.from({ length: 11 }, () => bytes(1)));
  assert.equal((await gone.take('a notice')).json()[1].reason, 'forced close');
  assert.equal((await s.hear(a, 'disconnect'))[0], 'transport close');
  const b = await s.connected('b', '/', { parser, reconnection: false });
  b.io.engine.write('2["text"]');
  assert.equal((await gone.take('a notice')).json()[1].reason, 'forced close');
});
