// The application on a server of the class Server: that of the npm reference (reference.mjs), and ours (node.mjs).
// service.mjs is the same application on NATS. The application of scripted.mjs is here, too.

import { hearServers, serveScripted } from './scripted.mjs';

// serveApplication adds the application to a server. What it sees goes to run.mjs: {tag, actor, line}. everywhere says
// that other servers own sockets, too.
export function serveApplication(io, everywhere = false) {
  for (const namespace of ['/', '/custom', /^\/dynamic-.*$/]) {
    io.of(namespace).on('connection', serve);
  }
  io.of('/refused').use((socket, next) => {
    tell(socket, 'refuse /refused');
    const error = new Error('not you');
    if (socket.handshake.auth.why) {
      error.data = { code: 7 };
    }
    next(error);
  });
  io.of('/slow').use((socket, next) => setTimeout(next, 100)).on('connection', serve);
  serveScripted(io, (socket, line, lane = 'server') => {
    const { query, auth } = socket.handshake;
    process.send({ tag: query.case, actor: `${lane} ${auth.name}`, line });
  }, everywhere);
}

// serveServers adds the handlers of events from another server.
export function serveServers(io) {
  hearServers(io, (tag, line) => process.send({ tag, actor: 'other server', line }));
}

function tell(socket, line) {
  process.send({ tag: socket.handshake.query.case, line });
}

// withoutRecovery returns an auth without what the client adds to it to recover.
function withoutRecovery(auth) {
  const { pid, offset, ...rest } = auth ?? {};
  return pid === undefined && offset === undefined ? auth : rest;
}

function serve(socket) {
  const namespace = socket.nsp;
  let rooms = [];
  tell(socket, `connect ${namespace.name}${socket.recovered ? ' recovered' : ''}`);
  socket.emit('auth', withoutRecovery(socket.handshake.auth));
  socket.on('disconnecting', () => { rooms = [...socket.rooms].filter((room) => room !== socket.id).sort(); });
  socket.on('disconnect', (reason) => tell(socket, `disconnect ${namespace.name} ${reason} [${rooms}]`));
  socket.onAny((event, ...values) => {
    const ack = typeof values.at(-1) === 'function' ? values.pop() : undefined;
    tell(socket, `event ${namespace.name} ${['string', 'number'].includes(typeof event) ? event : 'without a name'}${ack ? ' +ack' : ''}`);
    const [first, second] = values;
    switch (event) {
      case 'message': socket.emit('message-back', ...values); break;
      case 'message-with-ack': ack?.(...values); break;
      case 'handshake': ack?.(socket.handshake); break;
      case 'kick': socket.disconnect(); break;
      case 'kick-session': socket.disconnect(true); break;
      case 'say-and-kick': socket.emit('bye'); socket.disconnect(first); break;
      case 'kick-after': setTimeout(() => socket.disconnect(first), 100); break;
      case 'say-after': setTimeout(() => socket.emit('said', first), second); break;
      case 'join': socket.join(first); ack?.(); break;
      case 'leave': socket.leave(first); ack?.(); break;
      case 'to-room': namespace.to(first).emit('room-event', first); break;
      case 'to-others': socket.to(first).emit('others-event', first); break;
      case 'size': socket.emit('sized', 'x'.repeat(first)); break;
      case 'size-plain': socket.compress(false).emit('sized', 'x'.repeat(first)); break;
      case 'count': for (let i = 0; i < first; i++) { socket.emit('number', i); } break;
      case 'volatile': socket.volatile.emit('perhaps', 1); break;
      case 'binary': socket.emit('bytes', Buffer.from([1, 2, 3]), { deep: Buffer.from([4]) }); break;
      case 'binary-ack': ack?.(Buffer.from([1, 2, 3])); break;
    }
  });
}
