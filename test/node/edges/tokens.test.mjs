// Clients with tokens, which this script makes as an application does. Tokens live for seconds here, and the edge waits for
// 300 ms more.

import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { io } from 'socket.io-client';
import msgpack from 'socket.io-msgpack-parser';
import { assert, base, scene, until, within } from '../scene.mjs';

const secret = process.env.PARTYLINE_SECRET;
const ways = {
  websocket: { transports: ['websocket'] },
  polling: { transports: ['polling'] },
  both: { transports: ['polling', 'websocket'] },
  msgpack: { transports: ['polling', 'websocket'], parser: msgpack },
};

function makeToken(user, seconds, grant, more) {
  const now = Math.floor(Date.now() / 1000);
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ iss: 'https://id.example', aud: 'partyline', sub: user, iat: now, exp: now + seconds, partyline: grant, ...more })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

// counted is an auth function that counts its calls.
function counted(make) {
  const auth = (cb) => { auth.calls++; cb({ token: make(auth.calls) }); };
  auth.calls = 0;
  return auth;
}

for (const [name, options] of Object.entries(ways)) {
  scene(`the client comes back with a new token over ${name}`, async (s) => {
    const auth = counted(() => makeToken('ann', 2));
    const socket = await s.connected('ann', '/chat', { ...options, auth });
    for (let calls = 2; calls < 4; calls++) {
      const [reason] = await s.hear(socket, 'disconnect');
      assert.ok(['transport close', 'transport error'].includes(reason), reason); // polling calls it an error
      assert.equal(socket.active, true);
      await s.hear(socket, 'connect');
      assert.equal(auth.calls, calls);
    }
    assert.deepEqual((await within('an ack', socket.emitWithAck('join', 'x')))[0] ?? { ok: true }, { ok: true });
  });

  scene(`a renewed socket stays over ${name}`, async (s) => {
    const auth = counted(() => makeToken('ann', 2, { rooms: ['a'] }));
    const socket = await s.connected('ann', '/chat', { ...options, auth });
    const { id } = socket;
    for (const end = Date.now() + 5000; Date.now() < end;) {
      assert.deepEqual(await within('the ack of a renewal', socket.emitWithAck('partyline:token', makeToken('ann', 2, { rooms: ['b'] }))), { ok: true });
      await new Promise((resolve) => { setTimeout(resolve, 700); });
    }
    assert.equal(socket.id, id);
    assert.equal(auth.calls, 1);
    const { error } = await within('the ack of a bad renewal', socket.emitWithAck('partyline:token', makeToken('bob', 2)));
    assert.match(error, /^token /);
    const nats = await s.nats();
    s.publish(nats, 'sio.chat.emit.room.a', '["old"]');
    s.publish(nats, 'sio.chat.emit.room.b', '["new"]');
    await s.hear(socket, 'new');
    assert.deepEqual(s.unheard(socket), []);
  });

  scene(`a refused token over ${name}`, async (s) => {
    let token = makeToken('ann', -10, undefined, { iat: Math.floor(Date.now() / 1000) - 60 });
    const socket = s.client('ann', '/chat', { ...options, auth: (cb) => cb({ token }) });
    const [error] = await s.hear(socket, 'connect_error');
    assert.match(error.message, /^token /);
    assert.equal(error.data.code, 'token_expired');
    assert.equal(socket.active, false);
    token = makeToken('ann', 60);
    socket.connect();
    await s.hear(socket, 'connect');
  });

  scene(`a kicked user over ${name}`, async (s) => {
    const nats = await s.nats();
    const user = `kicked-${name}`;
    const until4 = Date.now() + 4000;
    const token = makeToken(user, 4);
    const socket = await s.connected('ann', '/chat', { ...options, auth: { token } });
    while (Date.now() < until4 - 2000) {
      await s.request(nats, `sio.chat.disconnect.room.user:${user}`, '["close"]');
      await s.hear(socket, 'disconnect');
      await s.hear(socket, 'connect');
    }
    await s.request(nats, `sio.chat.disconnect.room.user:${user}`, '[]');
    const [reason] = await s.hear(socket, 'disconnect');
    assert.equal(reason, 'io server disconnect');
    await until('the token has ended', () => Date.now() > until4 + 1000);
    socket.connect();
    const [error] = await s.hear(socket, 'connect_error');
    assert.equal(error.data.code, 'token_expired');
  });

  scene(`what a grant does not allow over ${name}`, async (s) => {
    const socket = await s.connected('ann', '/chat', { ...options, auth: { token: makeToken('ann', 60, { join: ['lobby-*'], emit: ['message'] }) } });
    assert.deepEqual(await within('an ack', socket.emitWithAck('join', 'vip')), { error: 'not allowed: vip' });
    assert.deepEqual(await within('an ack', socket.emitWithAck('join', 'lobby-1')), { ok: true });
    assert.deepEqual(await within('an ack', socket.emitWithAck('order', 7)), { error: 'not allowed: order' });
    socket.emit('message', 'hello', Buffer.from('xyz'));
    assert.deepEqual(await s.hear(socket, 'message'), ['hello', Buffer.from('xyz')]);
  });
}

for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
  const places = {
    query: (token) => ({ query: { token } }),
    cookie: (token) => ({ extraHeaders: { Cookie: `a=b; sid=${token}` } }),
    authorization: (token) => ({ extraHeaders: { Authorization: `Bearer ${token}` } }),
  };
  for (const [place, options] of Object.entries(places)) {
    scene(`a token in the ${place} over ${transports.join(' and ')}`, async (s) => {
      const nats = await s.nats();
      const notices = await s.service(nats, 'sio.chat.on.connect');
      const token = makeToken(place, 60);
      const socket = await s.connected(place, '/chat', { transports, ...options(token) });
      const notice = await notices.take('the notice', (m) => m.string().includes(socket.id));
      assert.equal(notice.headers.get('Sio-User'), place);
      assert.ok(!notice.string().includes(token.split('.')[2]), notice.string());
    });
  }
}

// The client of docs/how-to/authenticate.md, with another address, and renewals each half second instead of ten minutes.
scene('the client of the how-to', async (s) => {
  const blocks = [...readFileSync(process.env.PARTYLINE_HOWTO, 'utf8').matchAll(/^```js\n(.*?)^```$/gms)].map(([, text]) => text);
  const code = blocks.filter((text) => /\bsocket\b/.test(text)).join('\n')
    .replace('https://edge.example', base).replace('10 * 60_000', '500');
  assert.match(code, /partyline:token/);
  const timers = [];
  const logins = [];
  let seconds = -10; // the first token has expired already
  let served = 0;
  const answer = () => {
    served++;
    const token = makeToken('ann', seconds, undefined, seconds < 0 ? { iat: Math.floor(Date.now() / 1000) - 60 } : undefined);
    seconds = 3;
    return { ok: true, text: () => Promise.resolve(token) };
  };
  const play = new Function('io', 'fetch', 'showLogin', 'setInterval', `${code}\nreturn socket;`);
  const socket = play((url, options) => io(url, { ...options, forceNew: true }), async () => answer(), (message) => logins.push(message),
    (run, time) => { timers.push(setInterval(run, time)); });
  s.watch('ann', socket);
  try {
    await s.hear(socket, 'connect');
    const { id } = socket;
    await until('it was renewed often', () => served > 12, 20_000);
    assert.equal(socket.id, id);
    assert.deepEqual(logins, []);
  } finally {
    timers.forEach(clearInterval);
    socket.io._close();
  }
});
