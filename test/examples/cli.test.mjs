// The lines of examples/cli, with two clients that ack everything, as the page does.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { assert, scene, within } from '../node/scene.mjs';

const demo = fileURLToPath(new URL('../../examples/cli/demo.sh', import.meta.url));

scene('the demo', async (s) => {
  const people = [];
  for (const name of ['ann', 'bob']) {
    const socket = await s.connected(name, '/chat_room');
    socket.onAny((event, ...values) => values.at(-1) instanceof Function && values.at(-1)('ok'));
    assert.deepEqual(await socket.timeout(30_000).emitWithAck('join', 'room'), { ok: true });
    people.push(socket);
  }
  const run = spawn('sh', [demo], { env: { ...process.env, NATS_URL: process.env.PARTYLINE_NATS, PATIENCE: '10' }, stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  run.stdout.on('data', (text) => { printed += text; });
  run.stderr.on('data', (text) => { printed += text; });
  const status = await within('the end of the demo', new Promise((resolve) => { run.on('exit', resolve); }), 150_000);
  assert.equal(status, 0, printed);

  const [, id] = /Playing with the socket (\S+)\./.exec(printed);
  const one = people.find((socket) => socket.id === id || !socket.connected);
  const other = people.find((socket) => socket !== one);
  const texts = (socket) => s.unheard(socket).filter(([event]) => event === 'message').map(([, text]) => text);
  assert.deepEqual(await s.hear(one, 'disconnect').then(([reason]) => reason), 'io server disconnect');
  assert.deepEqual(texts(one), ['to all', 'to the room', 'to you alone', 'to important persons']);
  assert.deepEqual(texts(other), ['to all', 'to the room', 'to the others']);
  assert.ok(other.connected);

  const answers = [...printed.matchAll(/^Received .* : '(.*)'$/gm)].map(([, body]) => JSON.parse(body));
  const [fetched, acked, joined, rooms, set, got, left, ended] = answers;
  assert.equal(answers.length, 8, printed);
  assert.deepEqual(fetched.slice(1).map((socket) => [socket.namespace, socket.rooms]), [['/chat_room', ['room']], ['/chat_room', ['room']]]);
  assert.deepEqual(acked, ['ok']);
  assert.deepEqual(rooms[1], { room: 2, vip: 1 });
  assert.deepEqual(got[1], { id, data: { plan: 'pro' } });
  for (const [{ sockets }] of [joined, set, got, left, ended]) {
    assert.equal(sockets, 1);
  }
}, { timeout: 170_000 });
