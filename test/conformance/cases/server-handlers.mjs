// Handlers of events: their order, those that are added and taken away, packet middleware, what fails; and the
// reasons with which sockets end.

import { oneServer, scripted } from './scripted.mjs';

const owned = { only: ['owned'] }; // a handler of one socket needs an owner of the socket

// listens is a case about the listeners of a socket. The client emits `x` and others, each with a `sum` behind it.
const listens = (name, steps, script, more) => scripted('listeners', name, async (s, cast) => {
  const [ann] = await cast.ready('ann');
  await ann.listen(...steps);
  // One event at a time: if several come at once, the reference runs all catch-all listeners first.
  const emit = (...event) => {
    ann.socket.emit(...event);
    return ann.socket.emitWithAck('sum', 1, 1);
  };
  await script({ s, ann, emit });
}, { ...owned, ...more });

const words = ['all', 'toString', 'message', 'join', 'room', 'a.b', '__proto__'];

const listeners = [
  ...listens('several of one event', [['on', 'x', 'first'], ['on', 'x', 'second'], ['on', 'y', 'third']], async ({ emit }) => { await emit('x', 1); await emit('x', 2, { three: 3 }); }),
  ...listens('once', [['once', 'x', 'first'], ['on', 'x', 'second'], ['once', 'x', 'third']], async ({ emit }) => { await emit('x', 1); await emit('x', 2); }),
  ...listens('once, several events at once', [['once', 'x', 'first']], ({ ann, emit }) => { ann.socket.emit('x', 1); ann.socket.emit('x', 2); return emit('x', 3); }),
  ...listens('off', [['on', 'x', 'first'], ['once', 'x', 'second'], ['on', 'y', 'third'], ['off', 'x']], async ({ emit }) => { await emit('x', 1); await emit('y', 1); }),
  ...listens('off, and on again', [['on', 'x', 'first'], ['off', 'x'], ['on', 'x', 'second']], ({ emit }) => emit('x', 1)),
  ...listens('off of what is not there', [['off', 'x'], ['on', 'x', 'first']], ({ emit }) => emit('x', 1)),
  ...listens('taken away between events', [['on', 'x', 'first']], async ({ ann, emit }) => { await emit('x', 1); await ann.listen(['off', 'x']); await emit('x', 2); }),
  ...listens('catch-all ones come first', [['on', 'x', 'first'], ['onAny', '', 'any'], ['onAny', '', 'any more']], async ({ ann, s }) => {
    ann.socket.emit('x', 1);
    await s.until('server ann', 'first');
  }),
  ...listens('catch-all ones and events without a handler', [['onAny', '', 'any']], ({ ann, s }) => {
    ann.socket.emit('x', 1);
    ann.socket.emit('y', [2]);
    return s.until('server ann', 'any: y');
  }),
  ...listens('the first ack counts', [['on', 'x', 'first', 'ack'], ['on', 'x', 'second', 'ack']], async ({ ann, s }) => {
    s.note('ann', `x ${await ann.socket.emitWithAck('x', 1)}`);
  }),
  ...listens('several of the disconnect', [['disconnect', '', 'first'], ['disconnect', '', 'second']], async ({ ann, s }) => {
    ann.socket.disconnect();
    await s.until('server ann', 'second'); // services serve another socket at the same time
    ann.socket.connect();
    await ann.ready();
  }, oneServer),
  ...listens('names that are words elsewhere', words.map((name) => ['on', name, 'it']), async ({ emit }) => {
    for (const name of words) {
      await emit(name, 1);
    }
  }),
];

const packets = [
  ...listens('packet middleware', [['use', '', 'first'], ['use', '', 'second'], ['on', 'x', 'handler']], async ({ ann, s }) => {
    ann.socket.emit('x', 1);
    await s.until('server ann', 'handler');
  }),
  ...scripted('listeners', 'packet middleware that refuses', async (s, cast) => {
    const [ann] = await cast.ready('ann');
    await ann.listen(['use', '', 'first'], ['use', '', 'second', 'refuse'], ['use', '', 'third'], ['on', 'x', 'handler'], ['onAny', '', 'any']);
    ann.socket.emit('x', 1);
    await s.until('server ann', 'error: second');
  }, owned),
  ...scripted('listeners', 'a forbidden event', async (s, cast) => {
    const [ann] = await cast.ready('ann');
    ann.socket.emit('forbidden', 1);
    await s.until('server ann', 'error: not allowed');
    s.note('ann', `sum ${await ann.socket.emitWithAck('sum', 1, 1)}`);
  }),
];

const failing = ['throw', 'fail'].flatMap((event) => [
  ...scripted('listeners', `one that fails: ${event}`, async (s, cast) => {
    const [ann, bob] = await cast.ready('ann', 'bob');
    ann.socket.emit(event);
    ann.socket.emit('echo', 1);
    await s.until('ann', 'echoed');
    s.note('bob', `sum ${await bob.socket.emitWithAck('sum', 1, 1)}`);
  }),
]);

const events = [
  ...scripted('events', 'in order', async (s, cast) => {
    const [ann] = await cast.ready('ann');
    for (let i = 0; i < 50; i++) {
      ann.socket.emit('echo', i);
    }
    await s.until('ann', '["echoed",49]');
  }),
  ...scripted('events', 'volatile and compressed of the client', async (s, cast) => {
    const [ann] = await cast.ready('ann');
    ann.socket.volatile.emit('echo', 1);
    ann.socket.compress(false).emit('echo', 2);
    await s.until('ann', '["echoed",2]');
  }),
];

// gone is a case about the end of a socket that is in two rooms, while another stays.
const gone = (name, leave, { options = {}, ...more } = {}) => scripted('reasons', name, async (s, cast) => {
  const bob = cast.client('bob');
  const ann = cast.client('ann', { use: ['join'] }, options);
  await Promise.all([ann.ready(), bob.ready()]);
  await ann.own.join('later');
  await leave({ s, ann, bob });
  await s.until('server ann', 'disconnect');
  await bob.io.rooms();
  await bob.io.fetchSockets();
}, more);

const deaf = (ann) => {
  const { engine } = ann.socket.io;
  const send = engine._sendPacket;
  engine._sendPacket = function silent(type, ...rest) { return type === 'pong' ? undefined : send.call(this, type, ...rest); };
};

const reasons = [
  ...gone('the client disconnects', ({ ann }) => { ann.socket.disconnect(); }),
  ...gone('the client closes its connection', ({ ann }) => { ann.socket.io.engine.close(); }),
  ...gone('the connection is cut', ({ ann }) => { ann.socket.io.engine.transport.ws.terminate(); }),
  ...gone('the client polls, and closes its connection', async ({ s, ann }) => { await s.sleep(100); ann.socket.io.engine.close(); }, { options: { transports: ['polling'] } }),
  ...gone('the client does not answer heartbeats', ({ ann }) => deaf(ann), { server: 'quick', ...oneServer }),
  ...gone('the client sends what is no packet', ({ ann }) => { ann.socket.io.engine.write('2{}'); }),
  ...gone('the client sends too much', ({ ann }) => { ann.socket.emit('echo', 'x'.repeat(30_000)); }),
  ...gone('the server disconnects the socket', ({ ann }) => ann.own.disconnect()),
  ...gone('the server closes the connection', ({ ann }) => ann.own.disconnect(true)),
  ...gone('the server disconnects the socket twice', ({ ann }) => Promise.all([ann.own.disconnect(), ann.own.disconnect()])),
  ...gone('the server disconnects a room', ({ bob }) => bob.io.in('lobby').disconnectSockets()),
  ...gone('the client comes back', async ({ s, ann }) => {
    ann.socket.disconnect();
    await s.until('server ann', 'disconnect');
    ann.socket.connect();
    await ann.ready();
    ann.socket.disconnect();
  }),
  ...gone('with events on their way', ({ ann }) => {
    ann.socket.emit('echo', 1);
    ann.socket.emit('echo', 2);
    ann.socket.disconnect();
  }),
  ...scripted('reasons', 'the connection of two sockets is closed', async (s, cast, mode) => {
    const ann = cast.client('ann');
    await ann.ready();
    const other = cast.member('other', s.follow('other', ann.socket.io.socket(`/${mode}`, { auth: { name: 'other' } }).connect()));
    await other.ready();
    await other.own.disconnect(true);
    await Promise.all([s.until('server ann', 'disconnect'), s.until('server other', 'disconnect')]);
  }),
];

export const serverHandlers = [...listeners, ...packets, ...failing, ...events, ...reasons];
