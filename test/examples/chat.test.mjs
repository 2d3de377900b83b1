// The chat of examples/chat, as the official client sees it, while its instances come and go.

import { assert, control, scene } from '../node/scene.mjs';
import { deploy } from './deploy.mjs';

const enter = (s, name, auth = {}) => s.connected(name, '/chat_room', { auth: { name, ...auth } });
const ask = (socket, ...event) => socket.timeout(30_000).emitWithAck(...event);
const heard = async (s, socket, event) => (await s.hear(socket, event))[0];
const told = async (s, socket, event) => (await s.hear(socket, event)).slice(0, -1); // without the offset

scene('nicknames, rooms, history, typing, direct messages', async (s) => {
  const [ann, bob] = [await enter(s, 'Ann'), await enter(s, 'Bob')];
  assert.deepEqual(await ask(ann, 'join', 'tea'), { people: ['Ann'] });
  const { id } = await ask(ann, 'message', 'tea', 'hello?');
  assert.deepEqual(await ask(bob, 'join', 'tea'), { people: ['Ann', 'Bob'] });
  const said = await heard(s, bob, 'message');
  assert.deepEqual([said.id, said.room, said.from, said.text], [id, 'tea', 'Ann', 'hello?']);
  assert.deepEqual(await told(s, ann, 'joined'), ['tea', 'Bob']);

  bob.emit('typing', 'tea');
  assert.deepEqual(await told(s, ann, 'typing'), ['tea', 'Bob']);
  await ask(bob, 'message', 'tea', 'here');
  assert.equal((await heard(s, ann, 'message')).text, 'hello?');
  assert.equal((await heard(s, ann, 'message')).text, 'here');

  ann.on('direct', (line, ack) => ack('seen'));
  assert.equal((await ask(bob, 'direct', 'Ann', 'just you')).to, 'Ann');
  assert.equal((await heard(s, ann, 'direct')).text, 'just you');

  const refused = s.client('x', '/chat_room', { auth: { name: 'ann' } });
  const [error] = await s.hear(refused, 'connect_error');
  assert.equal(error.message, 'somebody else has this name');
  assert.deepEqual(error.data, { code: 'taken' });
  assert.deepEqual(await ask(bob, 'nickname', 'Ann'), { error: 'somebody else has this name' });
  assert.deepEqual(await ask(bob, 'nickname', 'Rob'), { name: 'Rob' });
  assert.deepEqual(await told(s, ann, 'renamed'), ['Bob', 'Rob']);
});

scene('who comes back misses nothing', async (s) => {
  const [ann, bob] = [await enter(s, 'Ann'), await enter(s, 'Bob')];
  await ask(ann, 'join', 'back');
  await ask(bob, 'join', 'back');
  await ask(ann, 'message', 'back', 'before');
  const { id } = ann;
  ann.io.reconnection(false);
  ann.io.engine.close();
  assert.deepEqual(await told(s, bob, 'gone'), ['Ann']);
  await ask(bob, 'message', 'back', 'meanwhile');
  const cleo = await enter(s, 'Cleo');
  await ask(cleo, 'join', 'back');
  ann.io.reconnection(true);
  ann.connect();
  await s.hear(ann, 'connect', () => ann.recovered);
  assert.equal(ann.id, id);
  assert.deepEqual(await told(s, bob, 'joined'), ['back', 'Cleo']);
  assert.deepEqual(await told(s, bob, 'joined'), ['back', 'Ann']);
  assert.deepEqual((await ask(bob, 'who', 'back')).people, ['Ann', 'Bob', 'Cleo']);

  // The edge and NATS are killed; what was said is in a folder.
  await control('kill');
  await control('start');
  for (const person of [ann, bob, cleo]) {
    await s.hear(person, 'connect', () => person.recovered);
  }
  await ask(cleo, 'message', 'back', 'after');
  for (const person of [ann, bob, cleo]) {
    for (const text of ['before', 'meanwhile', 'after']) {
      assert.equal((await heard(s, person, 'message')).text, text);
    }
  }
  assert.deepEqual(s.unheard(ann).filter(([event, who]) => event === 'gone' && who === 'Ann'), []);
});

scene('an instance is stopped in the middle, and later the other one, without a loss', async (s) => {
  const people = await Promise.all(Array.from({ length: 8 }, (_, n) => enter(s, `p${n}`)));
  for (const person of people) {
    assert.equal((await ask(person, 'join', 'deploy')).error, undefined);
  }
  let talking = true;
  const said = await Promise.all([
    ...people.map(async (person) => {
      let n = 0;
      for (; talking; n++) {
        const answer = await ask(person, 'message', 'deploy', String(n));
        assert.equal(answer.error, undefined);
      }
      return n;
    }),
    (async () => {
      await deploy('stop', 'one');
      await deploy('start', 'one');
      await deploy('stop', 'two');
      talking = false;
    })(),
  ]);
  await deploy('start', 'two');
  for (const person of people) {
    for (const [author, lines] of said.slice(0, -1).entries()) { // each line of everybody once, and in order
      for (let n = 0; n < lines; n++) {
        const [line] = await s.hear(person, 'message', ({ from }) => from === `p${author}`);
        assert.equal(line.text, String(n));
      }
    }
    assert.deepEqual(s.unheard(person).filter(([event]) => event === 'message'), []);
    assert.ok(person.connected);
  }
  const late = await enter(s, 'late');
  await ask(late, 'join', 'deploy');
  for (let n = 0; n < 50; n++) {
    await heard(s, late, 'message');
  }
  assert.equal((await ask(people[3], 'who', 'deploy')).people.length, 9);
  assert.deepEqual(s.unheard(late).filter(([event]) => event === 'message'), []);
  console.log(`${said.slice(0, -1).reduce((a, b) => a + b)} lines were said meanwhile`);
});
