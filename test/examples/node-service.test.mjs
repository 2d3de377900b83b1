// The service of examples/node-service, as the official client sees it, and its client for the terminal.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { assert, base, scene, until } from '../node/scene.mjs';
import { deploy } from './deploy.mjs';

const enter = (s, name) => s.connected(name, '/chat_room', { auth: { name } });
const ask = (socket, ...event) => socket.timeout(30_000).emitWithAck(...event);

scene('names, rooms, messages, acks both ways, one copy stopped in the middle', async (s) => {
  const [ann, bob] = [await enter(s, 'Ann'), await enter(s, 'Böb')];
  for (const [auth, message] of [
    [{ name: 'Ann' }, 'somebody else has this name'],
    [{ name: 'a b' }, 'a name has 1 to 24 letters and digits'],
    [{}, 'a name has 1 to 24 letters and digits'],
  ]) {
    assert.equal((await s.hear(s.client('x', '/chat_room', { auth }), 'connect_error'))[0].message, message);
  }

  assert.deepEqual(await ask(ann, 'join', 'tea'), { people: ['Ann'] });
  assert.deepEqual((await ask(bob, 'join', 'tea')).people.sort(), ['Ann', 'Böb']);
  assert.deepEqual(await s.hear(ann, 'joined'), ['tea', 'Böb']);
  assert.deepEqual(await ask(bob, 'join', 'a.*'), { error: 'a room has 1 to 24 letters and digits' });

  for (let n = 0; n < 10; n++) {
    if (n === 5) {
      await deploy('stop', 'one');
    }
    assert.ok((await ask(bob, 'message', 'tea', `line ${n}`)).at > 0);
    assert.deepEqual(await s.hear(ann, 'message'), ['tea', 'Böb', `line ${n}`]);
  }
  assert.deepEqual(await ask(bob, 'message', 'toString', 'x'), { error: 'you are not in this room' });
  assert.deepEqual(s.unheard(bob), []); // not his own lines

  ann.on('direct', (from, text, ack) => ack(`${text}, seen`));
  assert.deepEqual(await ask(bob, 'direct', 'Ann', 'hello'), { seen: 'hello, seen' });
  assert.deepEqual(await ask(bob, 'direct', 'Cleo', 'hello'), { error: 'it did not reach Cleo' });
  await deploy('start', 'one');
});

scene('the client for the terminal', async (s) => {
  const talk = spawn(process.execPath, [process.env.PARTYLINE_TALK, 'Terry', 'tea'], { env: { ...process.env, EDGE_URL: base }, stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = [];
  createInterface({ input: talk.stdout }).on('line', (line) => { s.note('talk', line); lines.push(line); });
  await until('the greeting', () => lines.includes('You are Terry in tea, with nobody.'));
  const ann = await enter(s, 'Ann');
  await ask(ann, 'join', 'tea');
  await until('the news', () => lines.includes('Ann has joined tea.'));
  talk.stdin.write('good morning\n');
  assert.deepEqual(await s.hear(ann, 'message'), ['tea', 'Terry', 'good morning']);
  await ask(ann, 'message', 'tea', 'good evening');
  await until('the answer', () => lines.includes('Ann: good evening'));
  assert.deepEqual(await ask(ann, 'direct', 'Terry', 'psst'), { seen: 'seen' });
  await until('the whisper', () => lines.includes('Ann, to you alone: psst'));
  talk.stdin.write('@Cleo hello\n');
  await until('the error', () => lines.includes('it did not reach Cleo'));
  talk.stdin.end();
  const status = await new Promise((resolve) => { talk.on('exit', resolve); });
  assert.equal(status, 0);
});
