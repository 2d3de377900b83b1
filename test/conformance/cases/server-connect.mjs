// Namespaces, middleware, and what connection and disconnect handlers see and do.

import { later, scripted } from './scripted.mjs';

// admitted is a case about middleware that let a client in.
const admitted = (name, use) => scripted('middleware', name, async (s, cast) => {
  const ann = cast.client('ann', { use });
  await ann.ready();
  await ann.own.rooms();
  await ann.own.data();
  await ann.io.rooms();
});

// refused is a case about middleware that keep a client out.
const refused = (name, use, more) => scripted('middleware', name, async (s, cast) => {
  const ann = cast.client('ann', { use });
  await s.until('ann', 'connect_error');
  const bob = cast.client('bob');
  await bob.ready();
  await bob.io.fetchSockets();
  s.note('ann', `connected ${ann.socket.connected}`);
}, more);

const middleware = [
  ...admitted('one passes', ['pass']),
  ...admitted('three pass', ['pass', 'pass', 'pass']),
  ...admitted('three pass, one of them later', ['pass', 'pass later', 'pass']),
  ...admitted('one joins rooms', ['join']),
  ...admitted('one joins rooms, another leaves one', ['join', 'leave']),
  ...admitted('one sets data', ['data', 'pass']),
  ...refused('one refuses', ['refuse']),
  ...refused('one refuses, with data', ['refuse with data']),
  ...refused('one refuses later', ['refuse later']),
  ...refused('the second of three refuses', ['pass', 'refuse', 'pass']),
  ...refused('one joins rooms, another refuses', ['join', 'refuse with data']),
  ...scripted('middleware', 'one throws', async (s, cast) => {
    const ann = cast.client('ann', { use: ['throw', 'pass'] });
    await s.until('server ann', 'throw');
    const [bob] = await cast.ready('bob');
    await bob.io.fetchSockets();
    s.note('ann', `connected ${ann.socket.connected}`);
  }),
  ...scripted('middleware', 'connects again after a refusal', async (s, cast) => {
    const ann = cast.client('ann', { use: ['refuse'] });
    await s.until('ann', 'connect_error');
    ann.socket.auth = { name: 'ann', use: ['join'] };
    ann.socket.connect();
    await ann.ready();
    await ann.own.rooms();
  }),
  ...scripted('middleware', 'the client goes meanwhile', async (s, cast) => {
    const ann = cast.client('ann', { use: ['pass later'] });
    await s.until('server ann', 'pass later');
    ann.socket.disconnect();
    await s.sleep(150);
    const [bob] = await cast.ready('bob');
    await bob.io.fetchSockets();
  }),
  ...scripted('middleware', 'several clients at once', async (s, cast) => {
    ['ann', 'bob', 'cid'].forEach((name) => cast.client(name, { use: ['pass later', 'join'] }));
    await Promise.all(['ann', 'bob', 'cid'].map((name) => s.until(name, '["ready"')));
    const [dan] = await cast.ready('dan');
    await dan.io.rooms();
  }),
];

const namespaces = [
  ...scripted('namespaces', 'one with a fixed name', async (s, cast, mode) => {
    const ann = cast.client('ann', {}, { namespace: `/${mode}` });
    await ann.ready();
    ann.socket.emit('echo', 1, 'two', null, { three: [3] });
    await s.until('ann', 'echoed');
    ann.socket.disconnect();
    await s.until('server ann', 'disconnect');
  }),
  ...scripted('namespaces', 'two that one pattern names are apart', async (s, cast) => {
    const ann = cast.client('ann');
    const bob = cast.client('bob', {}, { namespace: `${cast.namespace}-2` });
    await Promise.all([ann.ready(), bob.ready()]);
    await ann.own.join('room');
    await bob.own.join('room');
    await ann.io.emit('for all', 1);
    await ann.io.to('room').emit('for the room', 1);
    await ann.io.to(bob.id).emit('for bob', 1);
    await bob.io.to('room').emit('for the room', 2);
    await ann.io.rooms();
  }),
  ...scripted('namespaces', 'two on one connection', async (s, cast, mode) => {
    const ann = cast.client('ann');
    await ann.ready();
    const other = cast.member('other', s.follow('other', ann.socket.io.socket(`/${mode}`, { auth: { name: 'other' } }).connect()));
    await other.ready();
    await ann.own.join('here');
    await other.own.rooms();
    await other.own.disconnect();
    await s.until('other', 'disconnect');
    await ann.own.rooms();
    ann.socket.disconnect();
    await s.until('server ann', 'disconnect');
  }),
  ...scripted('namespaces', 'a name that no pattern fits', async (s, cast, mode) => {
    cast.client('ann', {}, { namespace: `/un${mode}-1` });
    await s.until('ann', 'connect_error');
  }),
];

// greeting is a case about what a connection handler does.
const greeting = (name, greet, more) => scripted('connection', name, async (s, cast) => {
  const [bob] = await cast.ready('bob');
  await bob.own.join('hall');
  const ann = cast.client('ann', { greet, use: ['join'] });
  await ann.ready();
  await ann.own.rooms();
  await ann.io.rooms();
}, more);

const connection = [
  ...scripted('connection', 'the handshake', async (s, cast) => {
    const ann = cast.client('ann', { handshake: true, more: [1, { two: null }] }, {
      transports: ['polling'], timestampRequests: false, query: { token: 'x', empty: '' }, extraHeaders: { 'X-Thing': 'one' },
    });
    await ann.ready();
    await ann.io.fetchSockets();
  }),
  ...greeting('emits arrive in order', [
    later.own.emit('first', 1), later.io.emit('second', 2), later.io.to('hall').emit('third', 3), later.own.emit('fourth', 4),
    later.io.in('lobby').emit('fifth', 5), later.own.emit('sixth', 6),
  ]),
  ...greeting('the others are told', [later.own.broadcast.emit('somebody came', 1), later.own.to('hall').emit('to the hall', 1)]),
  ...greeting('joins, and emits to the room', [
    later.own.join('new'), later.io.to('new').emit('to new', 1), later.own.to('new').emit('not for ann', 1), later.own.leave('lobby'),
    later.io.to('lobby').emit('nobody', 1), later.own.emit('then', 1),
  ]),
  ...greeting('many emits', Array.from({ length: 40 }, (_, i) => (i % 2 ? later.own : later.io.to('lobby')).emit('number', i))),
  ...scripted('connection', 'is ended by the handler', async (s, cast) => {
    cast.client('ann', { greet: [later.own.emit('bye', 1), later.own.disconnect()] });
    await s.until('ann', 'disconnect');
    await s.until('server ann', 'disconnect');
  }),
  ...scripted('connection', 'is ended by the handler, with the connection', async (s, cast) => {
    cast.client('ann', { greet: [later.own.emit('bye', 1), later.own.disconnect(true)] });
    await s.until('ann', 'disconnect');
    await s.until('server ann', 'disconnect');
  }),
  ...scripted('connection', 'events that are sent before it', async (s, cast) => {
    const ann = cast.client('ann', { greet: [later.own.emit('hello', 1)] });
    ann.socket.emit('echo', 1);
    ann.socket.emit('echo', 2);
    await s.until('ann', '["echoed",2]');
  }),
];

// parting is a case about what a disconnect handler does.
const parting = (name, goodbye, leave, more) => scripted('disconnect handler', name, async (s, cast) => {
  const [bob] = await cast.ready('bob');
  await bob.own.join('hall');
  const ann = cast.client('ann', { goodbye, use: ['join'] });
  await ann.ready();
  await leave(ann, bob);
  await s.until('server ann', 'disconnect');
  await bob.io.rooms();
  await bob.io.emit('the end', 1);
  await s.until('bob', 'the end');
}, more);

const disconnectHandler = [
  ...parting('tells the others', [later.own.broadcast.emit('somebody went', 1), later.own.to('hall').emit('to the hall', 1)],
    (ann) => ann.socket.disconnect()),
  ...parting('tells everybody', [later.io.emit('to all', 1), later.io.to('hall').emit('to the hall', 1)], (ann) => ann.own.disconnect()),
  ...parting('emits to who has gone', [later.own.emit('nobody there', 1)], (ann) => ann.socket.disconnect()),
  ...parting('emits to whom the server has disconnected', [later.own.emit('nobody there', 1)], (ann) => ann.own.disconnect()),
];

export const serverConnect = [...middleware, ...namespaces, ...connection, ...disconnectHandler];
