// node --test web/page/contract.test.mjs

import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { Subjects, all, room, socket, body, eventName, isSocketId, namespaceName, natsLine, quoted, roomName } from './contract.js';

const names = JSON.parse(readFileSync(new URL('../../subjects/testdata/names.json', import.meta.url)));
const escape = { namespace: namespaceName, event: eventName, room: roomName };

// whole is a field of a case with its repeated part, which keeps long names short in the file.
const whole = (field, { [field]: text, repeat }) => text + (repeat?.[field] ?? '').repeat(repeat?.times ?? 0);

test('names in subjects, as in names.json', () => {
  let tried = 0;
  for (const example of names) {
    if (example.name === undefined) {
      continue; // a subject that is no name's: this page only writes them
    }
    const { kind, comment } = example;
    const name = whole('name', example);
    if (example.error) {
      assert.throws(() => escape[kind](name), RangeError, `${kind} ${name} (${comment})`);
    } else {
      assert.equal(escape[kind](name), whole('subject', example), `${kind} ${name} (${comment})`);
    }
    tried++;
  }
  assert.ok(tried > 100, `only ${tried} cases`);
});

test('half a character is no name', () => {
  for (const make of [roomName, eventName, (text) => namespaceName(`/${text}`)]) {
    assert.throws(() => make('a\ud800'), RangeError);
    assert.throws(() => make('\udc00a'), RangeError);
  }
});

test('an event may be a number', () => {
  assert.equal(eventName(7), '7');
  assert.equal(eventName(-1.5), '-1.5');
});

test('subjects of a namespace', () => {
  const subjects = new Subjects('sio', '/chat_room');
  const id = 'k3f9a0zz.Zx-_9aBcDeFgHiJkLmNo';
  assert.equal(subjects.on('message'), 'sio.chat_room.on.message');
  assert.equal(subjects.to('broadcast', all), 'sio.chat_room.broadcast.all');
  assert.equal(subjects.to('emit', room('a.b c')), 'sio.chat_room.emit.room.a.b%20c');
  assert.equal(subjects.to('ask', socket(id)), `sio.chat_room.ask.socket.${id}`);
  assert.equal(subjects.address(id), `sio.chat_room.emit.socket.${id}`);
  assert.equal(new Subjects('acme.sio', '/').on('all'), 'acme.sio._.on.%61ll');
});

test('ids of sockets', () => {
  assert.ok(isSocketId('k3f9a0zz.AAAAAAAAAAAAAAAAAAA1'));
  for (const other of ['', 'k3f9a0zz', 'k3f9a0zz.AAAAAAAAAAAAAAAAAAA', 'K3f9a0zz.AAAAAAAAAAAAAAAAAAA1', 'k3f9a0zz.AAAAAAAAAAAAAAAAAAA*', 'k3f9a0zz.AAAAAAAAAAAAAAAAAAA1\n']) {
    assert.ok(!isSocketId(other), other);
  }
});

test('a body is what the client sends', () => {
  assert.equal(body('message', 'it’s "so"\n', { a: 1 }), '["message","it’s \\"so\\"\\n",{"a":1}]');
});

test('a shell reads back what was quoted', () => {
  for (const text of ['plain', '', "it's", '$HOME `id` "x" \\', '["message","a\'b\'\'"]', '*', '!!', '~', '가 🎉', 'a;b|c&d', '#']) {
    assert.equal(execFileSync('sh', ['-c', `printf %s ${quoted(text)}`], { encoding: 'utf8' }), text);
  }
});

test('lines for the nats command', () => {
  assert.equal(natsLine('sub', 'sio.>', null), "nats sub 'sio.>'");
  assert.equal(
    natsLine('pub', 'sio.chat_room.broadcast.room.room', '["message","hi"]', { reply: 'sio.chat_room.emit.socket.e.s', server: 'nats://127.0.0.1:4222' }),
    `nats pub sio.chat_room.broadcast.room.room '["message","hi"]' --reply sio.chat_room.emit.socket.e.s`,
  );
  assert.equal(natsLine('pub', 'a', '["m"]', { server: 'nats://bus:4222' }), `nats -s nats://bus:4222 pub a '["m"]'`);
  assert.equal(natsLine('pub', 'a', '["{{x}}"]'), `nats pub a '["{{x}}"]' --no-templates`);
});
