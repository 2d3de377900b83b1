// Sockets of other servers, connections and ends, as a server in JavaScript has them. A case's code runs on the server;
// see code.mjs.

import { answering, code } from './code.mjs';
import { scripted } from './scripted.mjs';

// remote is a case about bob's socket as fetchSockets gives it, which may be another server's.
const remote = (name, run, clients) => code('remote', name, run, clients, { applications: ['node', 'pair'] });

const remotes = [
  ...remote('what it has', async ({ nsp }) => {
    const bob = (await nsp.fetchSockets()).find((one) => one.handshake.auth.name === 'bob');
    bob.join(['a', 'b']);
    bob.leave('b');
    const again = (await nsp.in('a').fetchSockets())[0];
    return [again.id === bob.id, [...again.rooms].filter((room) => room !== bob.id), again.rooms.has(bob.id), again.data, again.handshake.query.EIO,
      Object.keys(again.handshake).sort(), typeof again.handshake.issued, typeof again.handshake.time];
  }),
  ...remote('emits', async ({ nsp }) => {
    const bob = (await nsp.fetchSockets()).find((one) => one.handshake.auth.name === 'bob');
    bob.emit('one', 1, Buffer.from([1]));
    bob.join('a');
    nsp.to('a').emit('two', 2);
    bob.leave('a');
    nsp.to('a').emit('nobody', 3);
    bob.emit('four', 4);
  }),
  ...remote('a join in bulk, and emits', async ({ socket, nsp }) => {
    for (let i = 0; i < 20; i++) {
      nsp.socketsJoin(`room ${i}`);
      nsp.to(`room ${i}`).emit('number', i);
      socket.to(`room ${i}`).emit('others', i);
    }
    nsp.socketsLeave('room 3');
    nsp.to('room 3').emit('nobody');
    nsp.except('room 4').emit('nobody');
  }),
  ...remote('a time', async ({ nsp }) => {
    const bob = (await nsp.fetchSockets()).find((one) => one.handshake.auth.name === 'bob');
    const answer = await new Promise((resolve) => { bob.timeout(3_000).emit('question', 1, (error, values) => resolve([error, values].flat())); });
    const late = await new Promise((resolve) => { bob.timeout(300).emit('unheard of', 1, (error) => resolve(error.message)); });
    return [String(answer[1]), late];
  }, answering),
  ...remote('ends', async ({ nsp, help }) => {
    const bob = (await nsp.fetchSockets()).find((one) => one.handshake.auth.name === 'bob');
    bob.emit('before', 1);
    bob.disconnect();
    await help.soon(300);
    return (await nsp.fetchSockets()).length;
  }),
];

const connections = [
  ...code('connections', 'two namespaces of one client', async ({ socket, nsp, help }) => {
    await socket.timeout(3_000).emitWithAck('also');
    const other = [...nsp.server.of('/owned').sockets.values()].find((one) => one.handshake.auth.name === socket.handshake.query.case);
    other.on('disconnect', (reason) => help.tell('the other', reason));
    const seen = [other.client === socket.client, other.conn === socket.conn, other.id !== socket.id, other.request === socket.request];
    other.disconnect();
    await help.soon(100);
    return [...seen, socket.connected, socket.conn.readyState];
  }, ({ ann, s }) => ann.socket.on('also', (ack) => {
    const other = ann.socket.io.socket('/owned', { auth: { name: s.tag } });
    other.on('ready', () => ack());
    other.on('disconnect', (reason) => s.note('ann', `the other: ${reason}`));
  })),
  ...scripted('code, connections', 'an upgrade', async (s, cast) => {
    s.timed = true;
    const ann = cast.client('ann', {}, { transports: ['polling'] });
    await ann.ready();
    await ann.run(({ socket }) => [socket.conn.transport.name, socket.handshake.query.transport, socket.conn.upgraded ?? null]);
    const bob = cast.client('bob', {}, { transports: ['polling', 'websocket'] });
    await s.until('bob engine', 'upgrade websocket');
    await bob.ready();
    await s.sleep(100);
    await bob.run(({ socket }) => [socket.conn.transport.name, socket.handshake.query.transport, socket.request._query.transport]);
  }, { only: 'owned', applications: ['node'] }),
  ...code('connections', 'packets', async ({ socket, help }) => {
    const count = { in: 0, out: 0 };
    socket.conn.on('packet', ({ type }) => { count.in += type === 'message'; });
    socket.conn.on('packetCreate', ({ type }) => { count.out += type === 'message'; });
    await socket.timeout(3_000).emitWithAck('nothing'); // an attachment is a packet of its own there
    socket.emit('one', 1);
    await help.soon(50);
    return count;
  }, answering),
  ...code('connections', 'how they end', async ({ help }) => {
    const bob = help.peer('bob');
    bob.conn.on('close', (reason) => help.tell('close', reason, bob.conn.readyState, bob.connected));
    bob.on('disconnect', (reason, details) => help.tell('disconnect', reason, typeof details));
    bob.emit('leave');
    await help.soon(200);
  }, ({ bob }) => bob.socket.on('leave', () => bob.socket.io.engine.close())),
];

const ends = [
  ...code('ends', 'disconnect', async ({ help }) => {
    const bob = help.peer('bob');
    bob.on('disconnecting', (reason) => help.tell('disconnecting', reason));
    bob.on('disconnect', (reason, description) => help.tell('disconnect', reason, description));
    bob.conn.on('close', (reason) => help.tell('close', reason));
    bob.emit('before', 1);
    bob.disconnect();
    help.tell('returned');
    await help.soon(100);
  }),
  ...code('ends', 'disconnect, with the connection', async ({ help }) => {
    const bob = help.peer('bob');
    bob.on('disconnecting', (reason) => help.tell('disconnecting', reason));
    bob.on('disconnect', (reason) => help.tell('disconnect', reason));
    bob.emit('before', 1);
    bob.disconnect(true);
    help.tell('returned');
    await help.soon(100);
    return [bob.connected, bob.conn.readyState];
  }),
  ...code('ends', 'the connection is closed', async ({ help }) => {
    const bob = help.peer('bob');
    bob.on('disconnect', (reason) => help.tell('disconnect', reason));
    bob.emit('before', 1);
    bob.conn.close();
    await help.soon(100);
    return bob.connected;
  }),
  ...code('ends', 'all others', async ({ socket, nsp, help }) => {
    help.peer('bob').on('disconnect', (reason) => help.tell('disconnect', reason));
    socket.broadcast.disconnectSockets();
    await help.soon(100);
    return nsp.sockets.size;
  }),
];

export const serverConnections = [...remotes, ...connections, ...ends];
