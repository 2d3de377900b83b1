// The application that executes a case's script, on the npm reference and on our package for Node.js. The script is in
// the client's auth and in the events `do`, `listen` and `run`, and uses the server's own interface for it. scripted/ is the
// same application as a Go service.

import { runCode } from './code.mjs';

const thrown = 'thrown by the application';

// An error that a handler throws ends a server of these, unless it is caught.
for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.on(event, (error) => {
    if (error.message !== thrown) {
      console.error(error);
      process.exit(1);
    }
  });
}

// serveScripted makes the namespaces of the application. tell records what one socket's side of it has seen. The
// catch-all listener is recorded separately: if several events come at once, the reference runs it for all of them
// first. everywhere says that other servers own sockets, too.
export function serveScripted(io, tell, everywhere) {
  for (const name of ['/owned', '/stateless', /^\/(owned|stateless)-.*$/]) {
    const namespace = io.of(name);
    [0, 1, 2].forEach((i) => namespace.use((socket, next) => admit(socket, i, next, tell)));
    namespace.on('connection', (socket) => serve(socket, (line, lane) => tell(socket, line, lane), everywhere));
  }
}

// hearServers adds the handlers of events from other servers. The first argument is the case's tag.
export function hearServers(io, tell) {
  for (const name of ['/owned', '/stateless']) {
    io.of(name).on('hello', (tag, ...values) => tell(tag, `hello ${shown(values)}`));
    io.of(name).on('add', (tag, a, b, ack) => {
      tell(tag, `add ${shown([a, b])}`);
      ack(a + b);
    });
  }
}

function admit(socket, i, next, tell) {
  const step = socket.handshake.auth.use?.[i];
  if (i === 0) {
    socket.data.name = socket.handshake.auth.name;
  }
  if (step === undefined) {
    next();
    return;
  }
  tell(socket, `use ${i}: ${step}`);
  const refusal = Object.assign(new Error('not you'), step === 'refuse with data' ? { data: { code: 7 } } : {});
  switch (step) {
    case 'pass': next(); break;
    case 'pass later': setTimeout(next, 80); break;
    case 'join': socket.join(['lobby', 'hall']); next(); break;
    case 'leave': socket.leave('hall'); next(); break;
    case 'data': socket.data.plan = 'pro'; next(); break;
    case 'refuse': case 'refuse with data': next(refusal); break;
    case 'refuse later': setTimeout(() => next(refusal), 80); break;
    case 'throw': throw new Error(thrown);
  }
}

function serve(socket, tell, everywhere) {
  const { greet = [], goodbye = [], handshake } = socket.handshake.auth;
  tell(`connection${socket.recovered ? ', recovered,' : ''} rooms ${roomsOf(socket)} data ${shown(socket.data)}`);
  if (handshake) {
    tell(`handshake ${shown(socket.handshake)}`);
  }
  let rooms;
  socket.on('disconnecting', () => { rooms = roomsOf(socket); });
  socket.on('disconnect', (reason) => {
    tell(`disconnect ${reason} rooms ${rooms}`);
    goodbye.forEach((plan) => perform(socket, plan));
  });
  socket.onAny((event, ...values) => {
    if (!['do', 'listen', 'run'].includes(event)) {
      tell(`${event} ${shown(values.filter((value) => typeof value !== 'function'))}`, 'heard');
    }
  });
  socket.use(([event], next) => next(event === 'forbidden' ? new Error('not allowed') : undefined));
  socket.on('error', (error) => tell(`error: ${error.message}`));
  handle(socket, tell, everywhere);
  greet.forEach((plan) => perform(socket, plan));
  socket.emit('ready');
}

// handle adds the handlers of events.
function handle(socket, tell, everywhere) {
  socket.on('do', async (plan, ack) => ack(await perform(socket, plan, everywhere)));
  socket.on('run', async (text, ack) => ack(await runCode(socket, text, tell, shown)));
  socket.on('listen', (steps, ack) => {
    steps.forEach((step) => listen(socket, tell, ...step));
    ack();
  });
  socket.on('echo', (...values) => socket.emit('echoed', ...values));
  socket.on('echo as ack', (...values) => values.pop()(...values));
  socket.on('forbidden', () => tell('a forbidden event got through'));
  socket.on('twice', (ack) => { ack('first'); ack('second'); });
  socket.on('later', (ack) => setTimeout(() => ack('late'), 50));
  socket.on('fail', async () => { throw new Error(thrown); });
  socket.on('throw', () => { throw new Error(thrown); });
  socket.on('sum', (a, b, ack) => ack(a + b));
  socket.on('two handlers', (ack) => ack('the first'));
  socket.on('two handlers', (ack) => ack('the second'));
}

// perform executes a plan on the namespace or the socket: {of, steps: [[method, …arguments]], call: [the
// same]}. The result is a line.
async function perform(socket, { of, steps, call: [method, ...values] }, everywhere) {
  let target = of === 'io' ? socket.nsp : socket;
  for (const [name, ...args] of steps) {
    if (name === 'volatile' || name === 'broadcast') {
      target = target[name];
    } else {
      target = target[name](name === 'compress' || name === 'timeout' ? args[0] : args);
    }
  }
  const broadcast = of === 'io' || target !== socket;
  try {
    switch (method) {
      case 'serverSideEmitWithAck': return `answers ${sorted(await target.serverSideEmitWithAck(...values), true)}`;
      case 'emitWithAck': return `${broadcast ? 'answers' : 'answer'} ${sorted(await target.emitWithAck(...values), broadcast)}`;
      case 'fetchSockets': return shown((await target.fetchSockets()).map(snapshot).sort((a, b) => (a.name < b.name ? -1 : 1)));
      case 'rooms': return broadcast ? shown(await (everywhere ? roomsEverywhere : allRooms)(socket.nsp)) : roomsOf(socket);
      case 'data': return shown(socket.data);
      case 'setData': Object.assign(socket.data, values[0]); return 'ok';
      case 'join': case 'socketsJoin': case 'socketsLeave': await target[method](values); return 'ok';
      case 'leave': await Promise.all(values.map((room) => socket.leave(room))); return 'ok';
      default: await target[method](...values); return 'ok';
    }
  } catch (error) {
    if (error.message === 'operation has timed out') {
      return error.responses ? `timed out, answers ${sorted(error.responses, true)}` : 'timed out';
    }
    return 'failed';
  }
}

// listen adds or removes a listener of the socket, which records its events.
function listen(socket, tell, method, event, label, what) {
  const listener = (...values) => {
    const ack = typeof values.at(-1) === 'function' && values.pop();
    tell(`${label}: ${event} ${shown(values)}`);
    what === 'ack' && ack?.(label);
  };
  switch (method) {
    case 'on': case 'once': socket[method](event, listener); break;
    case 'off': socket.removeAllListeners(event); break;
    case 'onAny': socket.onAny((name, ...values) => tell(`${label}: ${name} ${shown(values.filter((v) => typeof v !== 'function'))}`)); break;
    case 'use': socket.use(([name], next) => {
      tell(`${label}: ${name}`);
      next(what === 'refuse' ? new Error(label) : undefined);
    }); break;
    case 'disconnect': socket.on('disconnect', (reason) => tell(`${label}: ${reason}`)); break;
  }
}

// On the reference a socket is also in the room of its own id. For a service here an id is not a room.

const roomsOf = (socket) => shown([...socket.rooms].filter((room) => room !== socket.id).sort());

const allRooms = (namespace) => Object.fromEntries([...namespace.adapter.rooms]
  .filter(([room]) => !namespace.sockets.has(room)).map(([room, sockets]) => [room, sockets.size]).sort());

// roomsEverywhere is allRooms where an adapter has the rooms of its own server's sockets only.
async function roomsEverywhere(namespace) {
  const rooms = new Map();
  for (const socket of await namespace.fetchSockets()) {
    socket.rooms.forEach((room) => room !== socket.id && rooms.set(room, 1 + (rooms.get(room) ?? 0)));
  }
  return Object.fromEntries([...rooms].sort());
}

const snapshot = (remote) => ({
  name: remote.handshake.auth.name, data: remote.data, rooms: [...remote.rooms].filter((room) => room !== remote.id).sort(), url: remote.handshake.url,
});

const sorted = (values, many) => (many ? `[${values.map(shown).sort()}]` : shown(values));

// shown returns a value as JSON, with keys in order and binary data as hexadecimal digits.
function shown(value) {
  return JSON.stringify(value ?? null, function replace(key, held) {
    if (Buffer.isBuffer(this[key])) {
      return `<${this[key].toString('hex')}>`;
    }
    return held?.constructor === Object ? Object.fromEntries(Object.entries(held).sort(([a], [b]) => (a < b ? -1 : 1))) : held;
  });
}
