// The application of reference.mjs as a service, which uses only NATS and docs/subjects.md. run.mjs starts it with
// the NATS addresses of our servers as arguments, and gets what it sees: [case, line].

import { connect, headers } from '@nats-io/transport-node';

for (const address of process.argv.slice(2)) {
  const nats = await connect({ servers: address });
  const handshakes = new Map(); // by socket id
  nats.subscribe('sio.*.on.>', { callback: (error, message) => serve(nats, handshakes, message) });
  await nats.flush();
}
process.send({ ready: true });
process.on('disconnect', () => process.exit());

function headersOf(values) {
  const made = headers();
  Object.entries(values).forEach(([name, value]) => made.set(name, value));
  return { headers: made };
}

function serve(nats, handshakes, message) {
  // sio.<ns>.on.<event>, with the sender in the reply: sio.<ns>.(emit.socket|ack).<edge>.<id>[.<n>]
  const token = message.subject.split('.')[1];
  const namespace = token === '_' ? '/' : `/${token}`;
  if (/^\/(owned|stateless)/.test(namespace)) {
    return; // those of the other application
  }
  const [, , verb, ...rest] = message.reply.split('.');
  const socket = (verb === 'emit' ? rest.slice(1) : rest.slice(0, 2)).join('.');
  const attachments = message.headers?.get('Sio-Attachments') ?? '';
  const textEnd = message.data.length - attachments.split(',').reduce((sum, length) => sum + Number(length), 0);
  const [event, ...values] = JSON.parse(Buffer.from(message.data.subarray(0, textEnd)).toString());
  const tail = message.data.subarray(textEnd);
  const wantsAck = verb === 'ack' && event !== 'connect';
  const tell = (line) => process.send({ tag: handshakes.get(socket)?.query.case, line });

  const body = (array) => (attachments ? Buffer.concat([Buffer.from(JSON.stringify(array)), tail]) : JSON.stringify(array));
  const same = () => (attachments ? headersOf({ 'Sio-Attachments': attachments }) : undefined);
  const publish = (command, array, options) => nats.publish(`sio.${token}.${command}`, JSON.stringify(array), options);
  const emit = (...event) => publish(`emit.socket.${socket}`, event);
  const end = (session) => publish(`disconnect.socket.${socket}`, [Boolean(session)]);
  const ack = (...answer) => wantsAck && message.respond(JSON.stringify(answer));
  const request = async (command, array) => { await nats.request(`sio.${token}.${command}`, JSON.stringify(array)); };

  if (event === 'connect') {
    handshakes.set(socket, values[0]);
    connected(message, namespace, values[0], verb, tell, emit);
    return;
  }
  if (event === 'disconnect') {
    const { reason, rooms } = values[0];
    tell(`disconnect ${namespace} ${reason} [${rooms.sort()}]`);
    handshakes.delete(socket);
    return;
  }
  tell(`event ${namespace} ${event}${wantsAck ? ' +ack' : ''}`);
  const [first, second] = values;
  switch (event) {
    case 'message': nats.publish(`sio.${token}.emit.socket.${socket}`, body(['message-back', ...values]), same()); break;
    case 'message-with-ack': wantsAck && message.respond(body(values), same()); break;
    case 'handshake': ack(handshakes.get(socket)); break;
    case 'kick': end(false); break;
    case 'kick-session': end(true); break;
    case 'say-and-kick': emit('bye'); end(first); break;
    case 'kick-after': setTimeout(() => end(first), 100); break;
    case 'say-after': setTimeout(() => emit('said', first), second); break;
    case 'join': request(`join.socket.${socket}`, [first]).then(() => ack()); break;
    case 'leave': request(`leave.socket.${socket}`, [first]).then(() => ack()); break;
    case 'to-room': publish(`emit.room.${first}`, ['room-event', first]); break;
    case 'to-others': publish(`broadcast.room.${first}`, ['others-event', first], { reply: message.reply }); break;
    case 'size': emit('sized', 'x'.repeat(first)); break;
    case 'size-plain': publish(`emit.socket.${socket}`, ['sized', 'x'.repeat(first)], headersOf({ 'Sio-Compress': 'false' })); break;
    case 'count': for (let i = 0; i < first; i++) { emit('number', i); } break;
    case 'volatile': publish(`emit.socket.${socket}`, ['perhaps', 1], headersOf({ 'Sio-Volatile': 'true' })); break;
    case 'binary':
      nats.publish(`sio.${token}.emit.socket.${socket}`, Buffer.concat([
        Buffer.from('["bytes",{"_placeholder":true,"num":0},{"deep":{"_placeholder":true,"num":1}}]'), Buffer.from([1, 2, 3, 4]),
      ]), headersOf({ 'Sio-Attachments': '3,1' }));
      break;
    case 'binary-ack':
      message.respond(Buffer.concat([Buffer.from('[{"_placeholder":true,"num":0}]'), Buffer.from([1, 2, 3])]), headersOf({ 'Sio-Attachments': '3' }));
      break;
  }
}

// connected admits a socket. One that is recovered may be there already: this is a notice then.
function connected(message, namespace, handshake, verb, tell, emit) {
  if (namespace === '/refused') {
    tell('refuse /refused');
    message.respond(handshake.auth.why ? '[{"code":7}]' : '[]', headersOf({ 'Sio-Error': 'not you' }));
    return;
  }
  const admit = () => {
    tell(`connect ${namespace}${handshake.recovered ? ' recovered' : ''}`);
    if (verb !== 'emit') {
      message.respond('[]');
    }
    emit('auth', handshake.auth);
  };
  if (namespace === '/slow') {
    setTimeout(admit, 100);
  } else {
    admit();
  }
}
