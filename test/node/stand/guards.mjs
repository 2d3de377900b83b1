// What the containers of compose.yaml may do, and what the users of its NATS may do. run.sh starts the stand and this.

import assert from 'node:assert/strict';
import { connect, errors } from '@nats-io/transport-node';
import { io } from 'socket.io-client';
import { container, docker, healthy, pauseFor, project } from './docker.mjs';

const servers = `127.0.0.1:${process.env.NATS_PORT}`;
const room = 'sio.chat_room.emit.room.guards';

await healthy('balancer');
await confined();
await certificates();
await talk();
await strangers();
for (const [user, verb, subject] of [
  ['edge', 'publish', 'sio.chat_room.join.all'],
  ['edge', 'publish', 'sio.chat_room.disconnect.all'],
  ['edge', 'publish', '$KV.chat_names.x'],
  ['edge', 'publish', '$JS.API.STREAM.DELETE.KV_chat_names'],
  ['edge', 'subscription', 'sio.chat_room.on.>'],
  ['edge', 'subscription', '_INBOX.chat.>'],
  ['edge', 'subscription', '>'],
  ['chat', 'publish', 'sio.admin.emit.all'],
  ['chat', 'publish', 'sio.$edge.x'],
  ['chat', 'publish', '$JS.API.STREAM.CREATE.other'],
  ['chat', 'subscription', 'sio.admin.on.>'],
  ['chat', 'subscription', '_INBOX.>'],
  ['news', 'publish', 'sio.chat_room.emit.all'],
  ['news', 'publish', 'sio.chat_room.join.room.guards'],
  ['news', 'subscription', 'sio.chat_room.on.>'],
]) {
  await refused(user, verb, subject);
}
console.log('containers are confined, images have certificates, NATS refuses what it should');

// confined looks at how the engine runs the containers.
async function confined() {
  const ids = (await docker('ps', '-q', '--filter', `label=com.docker.compose.project=${project}`)).split('\n');
  assert.ok(ids.length >= 9, `${ids.length} containers`);
  for (const { Name, Config, HostConfig } of JSON.parse(await docker('inspect', ...ids))) {
    assert.match(Config.User, /^[1-9]\d*:/, `${Name} runs as ${Config.User || 'root'}`);
    assert.ok(HostConfig.ReadonlyRootfs, `${Name} can write to its files`);
    assert.deepEqual(HostConfig.CapDrop, ['ALL'], Name);
    assert.ok(HostConfig.SecurityOpt.includes('no-new-privileges:true'), Name);
    assert.ok(HostConfig.Memory > 0 && HostConfig.NanoCpus > 0 && HostConfig.PidsLimit > 0, `${Name} has no limits`);
  }
  await assert.rejects(docker('exec', await container('nats-1'), 'touch', '/x'), /Read-only/);
}

async function certificates() {
  for (const service of ['edge-1', 'chat-1']) {
    const tar = await docker('cp', `${await container(service)}:/etc/ssl/certs/ca-certificates.crt`, '-');
    assert.ok(tar.includes('BEGIN CERTIFICATE'), `${service} has no certificates`);
  }
}

// talk has two clients chat through the balancer, and a program send to their room.
async function talk() {
  const people = ['Ann', 'Bob'].map((name) => {
    const socket = io(`${process.env.PARTYLINE_URL}/chat_room`, { forceNew: true, auth: { name, key: name } });
    const heard = [];
    socket.on('message', ({ text }) => heard.push(text));
    return { socket, heard };
  });
  for (const { socket } of people) {
    const { error } = await socket.timeout(20_000).emitWithAck('join', 'guards');
    assert.equal(error, undefined);
  }
  await people[0].socket.timeout(5000).emitWithAck('message', 'guards', 'hello');
  const news = await as('news');
  news.publish(room, JSON.stringify(['message', { room: 'guards', from: 'news', text: 'headline', at: new Date() }]));
  await news.flush();
  await news.close();
  for (const { heard, socket } of people) {
    for (const end = Date.now() + 5000; heard.length < 2 && Date.now() < end;) { await pauseFor(20); }
    assert.deepEqual(heard.sort(), ['headline', 'hello']);
    socket.disconnect();
  }
}

async function strangers() {
  for (const who of [{}, { user: 'edge', pass: 'wrong' }, { user: 'admin', pass: 'admin' }, { token: 'edge' }]) {
    await assert.rejects(connect({ servers, reconnect: false, ...who }), errors.AuthorizationError);
  }
}

function as(user) {
  const pass = process.env[`NATS_${user.toUpperCase()}_PASSWORD`];
  return connect({ servers, user, pass, inboxPrefix: `_INBOX.${user}`, reconnect: false });
}

async function refused(user, operation, subject) {
  const nc = await as(user);
  const answer = (async () => {
    for await (const { error } of nc.status()) {
      if (error instanceof errors.PermissionViolationError) { return error; }
    }
    return null;
  })();
  if (operation === 'publish') { nc.publish(subject, '["forbidden"]'); } else { nc.subscribe(subject, { callback() {} }); }
  const error = await Promise.race([answer, pauseFor(5000)]);
  assert.deepEqual([error?.operation, error?.subject], [operation, subject], `${user} may ${operation} ${subject}`);
  await nc.close();
}
