// What only a server in JavaScript has: its objects, listeners and callbacks. A case's code runs on the server, in a
// handler of ann's socket; see code.mjs.

import { answering, code, going } from './code.mjs';

const rooms = [
  ...code('rooms', 'a socket is in the room of its id', ({ socket, nsp, help }) => [
    socket.rooms.has(socket.id), socket.rooms.size, nsp.adapter.rooms.has(socket.id), help.names(nsp.adapter.socketRooms(socket.id)),
  ]),
  ...code('rooms', 'they are known at once', ({ socket, help }) => {
    const seen = [];
    socket.join(['a', 'b']);
    seen.push(help.names(socket.rooms));
    socket.leave('a');
    seen.push(help.names(socket.rooms));
    socket.leave('unheard of');
    return [...seen, help.names(socket.rooms)];
  }),
  ...code('rooms', 'the maps of the adapter', async ({ socket, nsp, help }) => {
    socket.join('a');
    help.peer('bob').join(['a', 'b']);
    const { adapter } = nsp;
    const seen = [help.names(adapter.rooms.get('a')), help.names(adapter.rooms.get('b')), help.names(adapter.sids.get(socket.id))];
    help.peer('bob').leave('b');
    return [...seen, adapter.rooms.has('b'), help.names(await adapter.sockets(new Set(['a']))), help.names(await adapter.sockets(new Set()))];
  }),
  ...code('rooms', 'the events of the adapter', async ({ socket, nsp, help }) => {
    for (const event of ['create-room', 'join-room', 'leave-room', 'delete-room']) {
      nsp.adapter.on(event, (room, id) => help.tell(event, help.nameOf(room), id ? help.nameOf(id) : ''));
    }
    socket.join(['a', 'b']);
    help.peer('bob').join('a');
    socket.join('a');
    socket.leave('a');
    help.peer('bob').leave('a');
    nsp.socketsJoin('c');
    nsp.in('c').socketsLeave('c');
    ['create-room', 'join-room', 'leave-room', 'delete-room'].forEach((event) => nsp.adapter.removeAllListeners(event));
  }),
  ...code('rooms', 'numbers', async ({ socket, nsp }) => {
    socket.join(7);
    nsp.to(7).emit('to seven', 7);
    const found = await nsp.in(7).fetchSockets();
    socket.leave(7);
    nsp.to(7).emit('to nobody', 7);
    return [found.length, socket.rooms.size];
  }),
  ...code('rooms', 'those of others, in bulk', async ({ socket, nsp, help }) => {
    nsp.in(help.peer('bob').id).socketsJoin(['x', 'y']);
    const seen = [help.names(help.peer('bob').rooms), help.names(socket.rooms)];
    nsp.except(socket.id).socketsLeave('x');
    nsp.to('y').emit('to y', 1);
    return [...seen, help.names(help.peer('bob').rooms)];
  }),
  ...code('rooms', 'the room of an id', async ({ socket, nsp, help }) => {
    nsp.to(help.peer('bob').id).emit('for bob', 1);
    socket.to(help.peer('bob').id).emit('for bob', 2);
    nsp.to([socket.id, help.peer('bob').id]).emit('for both', 3);
    nsp.except(socket.id).emit('for bob', 4);
    return (await nsp.in(help.peer('bob').id).fetchSockets()).length;
  }),
  ...code('rooms', 'at the end', async ({ help }) => {
    const bob = help.peer('bob');
    bob.join(['a', 'b']);
    bob.on('disconnecting', (reason) => help.tell('disconnecting', reason, help.names(bob.rooms).length, bob.connected));
    bob.on('disconnect', (reason) => {
      help.tell('disconnect', reason, bob.rooms.size, bob.connected, bob.disconnected);
      bob.join('later');
      help.tell('then', bob.rooms.size);
    });
    bob.emit('go');
    await help.soon(200);
    return [bob.connected, bob.disconnected];
  }, going),
];

const emits = [
  ...code('emits', 'what they return', ({ socket, nsp }) => [
    socket.emit('one', 1), nsp.emit('two', 2), nsp.to('nobody').emit('three', 3), socket.broadcast.emit('four', 4),
  ]),
  ...code('emits', 'reserved names', ({ socket, nsp, help }) => ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener']
    .flatMap((event) => [socket, nsp, nsp.to('a')].map((target) => help.caught(() => target.emit(event, 1))))),
  ...code('emits', 'local', ({ socket, nsp }) => {
    socket.join('a');
    nsp.local.emit('local', 1);
    nsp.local.to('a').emit('local', 2);
    socket.local.emit('local', 3);
    nsp.to('a').local.emit('local', 4);
  }),
  ...code('emits', 'a target is not changed by what is made of it', ({ socket, nsp, help }) => {
    socket.join('a');
    help.peer('bob').join('b');
    const a = nsp.to('a');
    const both = a.to('b');
    a.emit('for a', 1);
    both.emit('for both', 2);
    both.except('a').emit('for b', 3);
    a.emit('for a', 4);
  }),
  ...code('emits', 'the value is that of the call', ({ socket, nsp }) => {
    const value = { n: 1, list: [1] };
    socket.emit('one', value);
    nsp.emit('all', value);
    value.n = 2;
    value.list.push(2);
    socket.emit('one', value);
  }),
  ...code('emits', 'values of JavaScript', ({ socket, nsp }) => {
    const values = [undefined, null, NaN, Infinity, -0, new Date(0), [undefined, , 1], { a: undefined, b: () => 1 }, { toJSON: () => 'made' }, new Map([[1, 2]]), 'ü\u2028"\\', '\ud800'];
    values.forEach((value) => { socket.emit('value', value); nsp.to('nobody').emit('value', value); });
    socket.emit('no value');
    nsp.emit('values', ...values);
  }),
  ...code('emits', 'kinds of binary data', ({ socket, nsp }) => {
    const bytes = new Uint8Array([0, 1, 2, 3, 4]);
    const values = [Buffer.from([1]), bytes, bytes.subarray(1, 3), bytes.buffer, new DataView(bytes.buffer, 2), Buffer.alloc(0), new Uint16Array([258]), { toJSON: () => ({ inside: Buffer.from([9]) }) }];
    values.forEach((value) => socket.emit('bytes', value));
    nsp.emit('bytes', { deep: [values[0], values[2]] });
  }),
  ...code('emits', 'what cannot be sent', ({ socket, nsp, help }) => {
    const round = {};
    round.round = round;
    return [10n, round].flatMap((value) => [socket, nsp, nsp.to('nobody')].map((target) => help.caught(() => target.emit('odd', value)).toString().split('\n')[0].slice(0, 60)));
  }),
  ...code('emits', 'odd names of events', ({ socket, nsp }) => {
    ['', ' ', 'ü', 'a.b.*.>', 'x'.repeat(300), 7].forEach((event) => { socket.emit(event, 1); nsp.emit(event, 2); });
  }),
  ...code('emits', 'after the socket was disconnected', ({ socket, nsp, help }) => {
    const bob = help.peer('bob');
    bob.disconnect();
    const after = [bob.emit('late', 1), bob.connected, nsp.sockets.has(bob.id), bob.disconnect() === bob, help.caught(() => bob.to('a').emit('late', 2))];
    socket.emit('then', 1);
    return after;
  }),
];

const outgoing = [
  ...code('outgoing', 'listeners to what is sent', async ({ socket, nsp, help }) => {
    const listen = (label) => (...values) => help.tell(label, values.filter((value) => typeof value !== 'function'));
    const first = listen('first');
    socket.onAnyOutgoing(first);
    socket.prependAnyOutgoing(listen('before'));
    socket.emit('one', 1);
    nsp.emit('all', 2);
    nsp.to('nobody').emit('nobody', 3);
    socket.broadcast.emit('others', 4);
    await socket.timeout(3_000).emitWithAck('question', 5);
    socket.offAnyOutgoing(first);
    socket.emit('one', 6);
    const count = socket.listenersAnyOutgoing().length;
    socket.offAnyOutgoing();
    socket.emit('one', 7);
    return [count, socket.listenersAnyOutgoing().length];
  }, answering),
];

const acks = [
  ...code('acks', 'of one, with a callback', ({ socket, help }) => new Promise((resolve) => {
    socket.emit('question', 1, (...values) => { help.tell('ack', values); });
    socket.emit('nothing', (...values) => { help.tell('ack', values); resolve(); });
  }), answering),
  ...code('acks', 'of one, with a callback and a time', ({ socket, help }) => new Promise((resolve) => {
    socket.timeout(3_000).emit('question', 1, (...values) => help.tell('ack', values));
    socket.timeout(200).emit('unheard of', 1, (...values) => { help.tell('late', values.length, values[0].message); resolve(); });
  }), answering),
  ...code('acks', 'of one, as a promise', async ({ socket }) => [
    await socket.emitWithAck('question', 1), await socket.timeout(3_000).emitWithAck('nothing') === undefined,
    await socket.timeout(200).emitWithAck('unheard of').catch((error) => [error instanceof Error, error.message]),
  ], answering),
  ...code('acks', 'of many, with a callback', ({ nsp, help }) => new Promise((resolve) => {
    nsp.timeout(3_000).emit('question', 1, (error, answers) => {
      help.tell('answers', error, answers.map(String).sort());
      nsp.timeout(300).to('nobody').emit('question', 1, (none, empty) => {
        help.tell('of nobody', none, empty);
        resolve();
      });
    });
  }), answering),
  ...code('acks', 'of many, not all in time', ({ nsp, help }) => new Promise((resolve) => {
    nsp.timeout(400).emit('only ann', (error, answers) => { help.tell('answers', error?.message, answers); resolve(); });
  }), ({ ann }) => ann.answers('only ann', 'I do')),
  ...code('acks', 'of the others', async ({ socket }) => [
    await socket.broadcast.timeout(3_000).emitWithAck('question', 1), await socket.to('nobody').timeout(300).emitWithAck('question', 1),
  ], answering),
  ...code('acks', 'of many, local', async ({ nsp }) => (await nsp.local.timeout(3_000).emitWithAck('question', 1)).sort(), answering),
  ...code('acks', 'the client goes meanwhile', ({ help }) => new Promise((resolve) => {
    const bob = help.peer('bob');
    bob.timeout(400).emit('go', (...values) => { help.tell('ack', values.length, values[0]?.message); });
    setTimeout(resolve, 600);
  }), going),
];

const listeners = [
  ...code('listeners', 'on, once, off', async ({ socket, help }) => {
    const label = (name) => (...values) => help.tell(name, values);
    const first = label('first');
    socket.on('news', first);
    socket.once('news', label('once'));
    socket.on('news', label('second'));
    const before = socket.listenerCount('news');
    await socket.timeout(3_000).emitWithAck('say', 1);
    await help.soon(50);
    socket.off('news', first);
    await socket.timeout(3_000).emitWithAck('say', 2);
    await help.soon(50);
    const after = socket.listenerCount('news');
    socket.removeAllListeners('news');
    await socket.timeout(3_000).emitWithAck('say', 3);
    await help.soon(50);
    return [before, after, socket.eventNames().includes('news')];
  }, ({ ann }) => ann.socket.on('say', (n, ack) => { ann.socket.emit('news', n); ack(); })),
  ...code('listeners', 'onAny, prependAny, offAny', async ({ socket, help }) => {
    const label = (name) => (event, ...values) => help.tell(name, event, values);
    const first = label('first');
    socket.onAny(first);
    socket.prependAny(label('before'));
    socket.on('news', (...values) => help.tell('own', values));
    await socket.timeout(3_000).emitWithAck('say', 1);
    await help.soon(50);
    socket.offAny(first);
    await socket.timeout(3_000).emitWithAck('say', 2);
    await help.soon(50);
    const left = socket.listenersAny().length;
    socket.offAny();
    return left;
  }, ({ ann }) => ann.socket.on('say', (n, ack) => { ann.socket.emit('news', n); ack(); })),
  ...code('listeners', 'middleware of a socket', async ({ socket, help }) => {
    socket.use((packet, next) => {
      if (packet[0] === 'news') {
        help.tell('first', packet);
        packet[1] = 'changed';
      }
      next();
    });
    socket.use(([event], next) => setTimeout(() => next(event === 'other' ? new Error('no') : undefined), 20));
    socket.on('news', (...values) => help.tell('news', values));
    await socket.timeout(3_000).emitWithAck('say', 1);
    await help.soon(100);
  }, ({ ann }) => ann.socket.on('say', (n, ack) => { ann.socket.emit('news', n); ack(); ann.socket.emit('other', n); })),
  ...code('listeners', 'what a client sends', async ({ socket, help }) => {
    socket.on('news', (...values) => help.tell(values.map((value) => (Buffer.isBuffer(value) ? `buffer ${value.length}` : typeof value))));
    await socket.timeout(3_000).emitWithAck('say', 1);
    await help.soon(50);
  }, ({ ann }) => ann.socket.on('say', (n, ack) => { ann.socket.emit('news', n, 'x', null, [1], Buffer.from([1, 2]), undefined, () => {}); ack(); })),
];

const objects = [
  ...code('objects', 'the sockets of a namespace', async ({ socket, nsp, help }) => [
    nsp.sockets.size, nsp.sockets.get(socket.id) === socket, socket.nsp === nsp, nsp.server.of(nsp.name) === nsp, nsp.name.replace(/-.*/, ''),
    (await nsp.fetchSockets()).every((one) => one === nsp.sockets.get(one.id)), help.names(await nsp.allSockets()), socket.server === nsp.server,
  ]),
  ...code('objects', 'the names of a socket', ({ socket }) => [
    /^[\w-]{20}$/.test(socket.id), typeof socket.client.id, socket.recovered, socket.client.conn === socket.conn, socket.conn.id !== socket.id,
  ]),
  ...code('objects', 'the handshake', ({ socket }) => {
    const { headers, time, address, xdomain, secure, issued, url, query, auth } = socket.handshake;
    return [Object.keys(socket.handshake).sort(), typeof headers.host, time.length, address, xdomain, secure, Math.abs(Date.now() - issued) < 60_000, url.split('?')[0], query.EIO, query.transport, auth];
  }),
  ...code('objects', 'the request', ({ socket }) => {
    const { request } = socket;
    return [request === socket.client.request, request.method, request.url.split('?')[0], request.headers.connection, request._query.EIO, request.httpVersion,
      request.connection.remoteAddress, request.socket.remoteAddress, typeof request.headers.host, request.headers['x-thing']];
  }),
  ...code('objects', 'the connection', ({ socket }) => {
    const { conn } = socket;
    return [conn.readyState, conn.protocol, conn.transport.name, conn.remoteAddress, conn.request === socket.request];
  }),
  ...code('objects', 'data', async ({ socket, nsp }) => {
    const seen = [socket.data];
    socket.data.one = 1;
    seen.push((await nsp.in(socket.id).fetchSockets())[0].data);
    socket.data = { other: [2] };
    seen.push((await nsp.in(socket.id).fetchSockets())[0].data);
    socket.data = 'text';
    return [...seen, (await nsp.in(socket.id).fetchSockets())[0].data];
  }),
  ...code('objects', 'events of a namespace', async ({ socket, nsp, help }) => {
    nsp.on('connect', (one) => help.tell('connect', one.handshake.auth.name));
    nsp.on('connection', (one) => help.tell('connection', one.handshake.auth.name));
    await socket.timeout(3_000).emitWithAck('bring cid');
    nsp.removeAllListeners('connect');
  }, ({ ann, cast }) => ann.socket.on('bring cid', async (ack) => { await cast.client('cid').ready(); ack(); })),
];

export const serverCode = [...rooms, ...emits, ...outgoing, ...acks, ...listeners, ...objects];
