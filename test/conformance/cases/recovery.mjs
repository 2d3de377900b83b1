// Clients whose connection breaks and that come back: what they keep, what they get, and when they are new. In all of
// these offsets and private ids are placeholders.

import { oneServer, scripted } from './scripted.mjs';

const transports = { websocket: ['websocket'], polling: ['polling'], upgrade: ['polling', 'websocket'] };

// recovering makes a case about ann, who goes and comes back, and bob, who stays.
const recovering = (name, play, more = {}) => scripted('recovery', name, async (s, cast, mode) => {
  const options = more.options ?? {};
  const ann = cast.client('ann', more.auth, options);
  const bob = cast.client('bob');
  await Promise.all([ann.ready(), bob.ready()]);
  if (options.transports?.length === 2) {
    await s.until('ann engine', 'upgrade');
  }
  const { id } = ann;
  await play({
    s, ann, bob, mode,
    // goes breaks the connection, and waits until the server knows.
    goes: async () => {
      ann.socket.io.engine.close();
      await s.until('server ann', 'disconnect');
    },
    // returns connects ann again, and waits for what the application says to her.
    returns: async () => {
      ann.socket.connect();
      await ann.ready();
      s.note('ids', ann.id === id ? 'she has her id' : 'she has a new id');
    },
  });
}, { server: 'recovery', ...oneServer, ...more });

// everyone is sent events in each way.
async function everyone({ ann, bob }) {
  await bob.io.emit('all', 1);
  await bob.io.to('a').emit('her room', 2, { deep: ['text'] });
  await bob.io.to('left').emit('not for her', 3);
  await bob.io.to(['a', 'left']).emit('a union', 4);
  await bob.own.broadcast.emit('but bob', 5);
  await bob.io.except('a').emit('not for her', 6);
  await bob.io.to(ann.id).emit('she alone', 7);
  await bob.own.to('a').emit('her room, but bob', 8);
  await bob.io.to('a').except(ann.id).emit('not for her', 9);
}

const returning = [
  ...Object.entries(transports).flatMap(([kind, names]) => recovering(`what a client missed, ${kind}`, async ({ ann, bob, goes, returns }) => {
    await ann.own.join('a');
    await ann.own.join('left');
    await ann.own.leave('left');
    await ann.own.setData({ plan: 'pro' });
    const { id } = ann;
    await goes();
    await everyone({ ann: { id }, bob });
    await returns();
    await ann.own.rooms();
    await ann.own.data();
    await everyone({ ann, bob });
  }, { options: { transports: names } })),
  ...recovering('what a client missed, MessagePack', async ({ ann, bob, goes, returns }) => {
    await ann.own.join('a');
    const { id } = ann;
    await goes();
    await everyone({ ann: { id }, bob });
    await bob.io.to('a').emit('bytes', Buffer.from([1, 2, 3]), { deep: Buffer.from([4]) });
    await returns();
    await ann.own.rooms();
    await everyone({ ann, bob });
  }, { server: 'packed' }),
  ...recovering('nothing was missed', async ({ ann, goes, returns }) => {
    await ann.own.join('a');
    await goes();
    await returns();
    await ann.own.rooms();
  }),
  ...recovering('three times', async ({ s, ann, bob, goes, returns }) => {
    await ann.own.join('a');
    for (let i = 0; i < 3; i++) {
      await goes();
      await bob.io.to('a').emit('number', i);
      await returns();
      await bob.io.to('a').emit('live', i);
      await s.until('ann', `["live",${i}`);
    }
  }),
  ...recovering('many events, in order', async ({ s, bob, goes, returns }) => {
    await bob.io.emit('number', -1);
    await s.until('ann', 'number');
    await goes();
    for (let i = 0; i < 20; i++) {
      await bob.io.emit('number', i);
    }
    await returns();
    await bob.io.emit('number', 20);
  }),
  ...recovering('binary events', async ({ ann, bob, goes, returns }) => {
    await ann.own.join('a');
    await goes();
    await bob.io.to('a').emit('bytes', Buffer.from([1, 2, 3]), { deep: Buffer.from([4]) });
    await bob.io.emit('text', 1);
    await returns();
    await bob.io.to('a').emit('bytes', Buffer.from([5]));
  }),
  ...recovering('volatile events', async ({ s, bob, goes, returns }) => {
    await bob.io.volatile.emit('perhaps', 1);
    await s.until('ann', 'perhaps');
    await goes();
    await bob.io.volatile.emit('perhaps', 2);
    await bob.io.emit('surely', 3);
    await returns();
    await bob.io.volatile.emit('perhaps', 4);
  }),
  ...recovering('a volatile event that ends with a text', async ({ s, bob, goes, returns }) => {
    await bob.io.volatile.emit('perhaps', 'a text');
    await s.until('ann', 'perhaps');
    await goes();
    await bob.io.emit('surely', 1);
    await returns();
  }),
  ...recovering('events with an ack', async ({ ann, bob, goes, returns }) => {
    [ann, bob].forEach((one) => one.answers('question', one.name));
    await bob.io.timeout(3_000).emitWithAck('question', 'a text');
    await goes();
    await bob.io.timeout(3_000).emitWithAck('question', 2);
    await returns();
    await bob.io.timeout(3_000).emitWithAck('question', 3);
  }),
  ...recovering('what the client sends meanwhile', async ({ s, ann, bob, goes, returns }) => {
    await goes();
    ann.socket.emit('echo', 1);
    ann.socket.emit('echo', 2);
    await bob.io.emit('all', 3);
    await returns();
    await s.until('ann', '["echoed",2');
  }, { only: 'owned' }), // else another process may have the events before it hears of the connection
  ...recovering('what others do meanwhile', async ({ ann, bob, goes, returns }) => {
    await ann.own.join('a');
    await goes();
    await bob.io.socketsJoin('late');
    await bob.io.in('a').socketsLeave('a');
    await bob.io.in('a').disconnectSockets();
    await bob.io.fetchSockets();
    await returns();
    await ann.own.rooms();
    await bob.io.fetchSockets();
  }),
];

const ending = [
  ...recovering('the client ends it', async ({ s, ann, bob, returns }) => {
    await ann.own.join('a');
    ann.socket.disconnect();
    await s.until('server ann', 'disconnect');
    await bob.io.emit('missed', 1);
    await returns();
    await ann.own.rooms();
  }),
  ...recovering('the server ends it', async ({ s, ann, bob, returns }) => {
    const { id } = ann;
    await bob.io.in(id).disconnectSockets();
    await s.until('ann', 'disconnect');
    await bob.io.emit('missed', 1);
    await returns();
  }),
  ...recovering('the server ends the connection', async ({ s, ann, bob, returns }) => {
    const { id } = ann;
    await bob.io.in(id).disconnectSockets(true);
    await s.until('ann', 'disconnect');
    await bob.io.emit('missed', 1);
    await returns();
  }),
];

const admitting = [
  ...recovering('middleware is skipped', async ({ ann, bob, goes, returns }) => {
    await goes();
    await bob.io.emit('missed', 1);
    ann.socket.auth = { name: 'ann', use: ['refuse'] };
    await returns();
    await ann.own.rooms();
  }, { auth: { use: ['join', 'data', 'pass later'] } }),
  ...recovering('middleware runs again', async ({ ann, bob, goes, returns }) => {
    await ann.own.join('a');
    await ann.own.leave('hall');
    await goes();
    await bob.io.to('a').emit('missed', 1);
    ann.socket.auth = { name: 'ann', use: ['pass', 'join', 'data'] };
    await returns();
    await ann.own.rooms();
    await ann.own.data();
  }, { server: 'asking', auth: { use: ['join'] } }),
  ...recovering('middleware refuses', async ({ s, ann, goes }) => {
    await goes();
    ann.socket.auth = { name: 'ann', use: ['refuse with data'] };
    ann.socket.connect();
    await s.until('ann', 'connect_error');
  }, { server: 'asking' }),
];

// entered opens a WebSocket session that sends a CONNECT with an auth. It returns the socket, and what only the wire has:
// the namespace's session and the offset of the last event.
async function entered(s, actor, auth, namespace = '/') {
  const socket = await s.engine(actor);
  const behind = namespace === '/' ? '' : `${namespace},`;
  const wire = { socket, sid: undefined, pid: undefined, offset: undefined };
  socket.on('message', (data) => {
    const text = data.toString();
    if (text.startsWith(`40${behind}{`)) {
      Object.assign(wire, JSON.parse(text.slice(2 + behind.length)));
    } else if (text.startsWith(`42${behind}[`)) {
      wire.offset = JSON.parse(text.slice(2 + behind.length)).at(-1);
    }
  });
  socket.send(`40${behind}${auth ? JSON.stringify(auth) : ''}`);
  await s.until(actor, '["auth"');
  return wire;
}

// cut breaks a connection without a word, and waits until the server knows.
async function cut(s, { socket }) {
  socket.terminate();
  await s.until('server', 'disconnect');
}

// raw is a case about one connection and the next, on the wire.
const raw = (name, next, { first = {}, ...more } = {}) => ({
  name: `recovery, raw: ${name}`, server: 'recovery', ...more,
  play: async (s) => {
    const one = await entered(s, 'first', first.auth, first.namespace);
    await next(s, one);
  },
});

// presents is a case in which the second connection's auth is made from the first one's pid and offset.
const presents = (name, auth, { namespace, ...more } = {}) => raw(name, async (s, one) => {
  await cut(s, one);
  const two = await entered(s, 'second', auth(one), namespace);
  s.note('second', two.sid === one.sid ? 'has the same id' : 'has a new id');
  s.note('second', two.pid === one.pid ? 'has the same pid' : 'has a new pid');
}, more);

const wire = [
  presents('comes back', ({ pid, offset }) => ({ pid, offset })),
  presents('comes back with other members', ({ pid, offset }) => ({ token: 'x', pid, offset, more: { pid: 1 } })),
  presents('an unknown pid', ({ offset }) => ({ pid: 'AAAAAAAAAAAAAAAAAAAA', offset })),
  presents('an unknown offset', ({ pid }) => ({ pid, offset: 'AAAAAAA' })),
  presents('an empty offset', ({ pid }) => ({ pid, offset: '' })),
  presents('no offset', ({ pid }) => ({ pid })),
  presents('an offset that is no text', ({ pid }) => ({ pid, offset: 7 })),
  presents('a pid that is no text', ({ pid, offset }) => ({ pid: [pid], offset })),
  presents('an offset without a pid', ({ offset }) => ({ offset })),
  presents('the pid of another namespace', ({ pid, offset }) => ({ pid, offset }), { namespace: '/custom' }),
  presents('another namespace', ({ pid, offset }) => ({ pid, offset }), { namespace: '/custom', first: { namespace: '/custom' } }),
  raw('a pid that was used before', async (s, one) => {
    const { pid, offset } = one;
    await cut(s, one);
    const two = await entered(s, 'second', { pid, offset });
    await cut(s, two);
    const three = await entered(s, 'third', { pid, offset: two.offset });
    s.note('third', three.sid === one.sid ? 'has the same id' : 'has a new id');
  }),
  raw('a connection that is still there', async (s, { pid, offset, sid }) => {
    const two = await entered(s, 'second', { pid, offset });
    s.note('second', two.sid === sid ? 'has the same id' : 'has a new id');
  }),
  raw('packets that end the session', async (s, one) => {
    one.socket.send('4abc');
    await s.until('server', 'disconnect');
    await entered(s, 'second', { pid: one.pid, offset: one.offset });
  }),
  raw('a client that is silent', async (s, one) => {
    await s.until('server', 'disconnect');
    one.socket.terminate();
    await entered(s, 'second', { pid: one.pid, offset: one.offset });
  }, { server: 'mortal' }),
  raw('the last event before the end', async (s, one) => {
    one.socket.send('42["say-and-kick",false]');
    await s.until('server', 'disconnect');
    await s.until('first', /^41$/); // a client that comes back before it is told takes its socket over
    await entered(s, 'second', { pid: one.pid, offset: one.offset });
  }),
  {
    name: 'recovery, raw: two namespaces of a connection', server: 'recovery',
    play: async (s) => {
      const ann = s.client('ann', '/', { auth: { a: 1 } });
      await s.until('ann', '["auth"');
      const custom = s.follow('custom', ann.io.socket('/custom', { auth: { b: 2 } }).connect());
      await s.until('custom', '["auth"');
      await Promise.all(['ann', 'again'].map((event) => custom.emitWithAck('join', event)));
      ann.io.engine.close();
      await s.until('server', 'disconnect');
      await s.until('server', 'disconnect'); // in whichever order
      ann.connect();
      custom.connect();
      await s.until('ann', '["auth"');
      await s.until('custom', '["auth"');
      custom.emit('to-room', 'again');
      await s.until('custom', 'room-event');
    },
  },
  {
    name: 'recovery, raw: the handshake of a client that came back', server: 'recovery',
    play: async (s) => {
      const ann = s.client('ann', '/', { auth: { token: 'x' } });
      await s.until('ann', '["auth"');
      ann.io.engine.close();
      await s.until('server', 'disconnect');
      ann.connect();
      await s.until('ann', '["auth"');
      const { auth } = await ann.emitWithAck('handshake');
      s.note('ann', `the auth has ${Object.keys(auth).sort()}`);
    },
  },
];

export const recovery = [...returning, ...ending, ...admitting, ...wire];
