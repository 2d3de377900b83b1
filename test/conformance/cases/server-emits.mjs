// Emits of every kind: who gets them, once each, in which order; and which of them are refused.

import { scripted } from './scripted.mjs';

// emits is a case with ann in room a, bob in a and b, cid in b and c, dan in none. All of them hear the last emit, which
// comes behind the others.
const emits = (name, script, more) => scripted('emit', name, async (s, cast) => {
  const [ann, bob, cid, dan] = await cast.ready('ann', 'bob', 'cid', 'dan');
  await Promise.all([ann.own.join('a'), bob.own.join('a', 'b'), cid.own.join('b', 'c')]);
  await script({ ann, bob, cid, dan, s });
  await ann.io.emit('the end');
  await Promise.all(['ann', 'bob', 'cid', 'dan'].map((who) => s.until(who, 'the end')));
}, more);

const targets = [
  ...emits('to all', ({ ann }) => ann.io.emit('news', 1)),
  ...emits('to a room', ({ ann }) => ann.io.to('a').emit('news', 1)),
  ...emits('in a room', ({ ann }) => ann.io.in('b').emit('news', 1)),
  ...emits('to an empty room', ({ ann }) => ann.io.to('nobody').emit('news', 1)),
  ...emits('to several rooms', ({ ann }) => ann.io.to('a').to('b').emit('news', 1)),
  ...emits('to a list of rooms', ({ ann }) => ann.io.to(['a', 'b', 'c', 'nobody']).emit('news', 1)),
  ...emits('to a room and in another', ({ ann }) => ann.io.to('a').in('c').emit('news', 1)),
  ...emits('except a room', ({ ann }) => ann.io.except('b').emit('news', 1)),
  ...emits('except several rooms', ({ ann }) => ann.io.except('a').except(['c', 'nobody']).emit('news', 1)),
  ...emits('to a room except another', ({ ann }) => ann.io.to('a').except('b').emit('news', 1)),
  ...emits('to rooms except one of them', ({ ann }) => ann.io.to(['a', 'b']).except('a').emit('news', 1)),
  ...emits('to a socket', ({ ann, bob }) => ann.io.to(bob.id).emit('news', 1)),
  ...emits('to several sockets', ({ ann, bob, dan }) => ann.io.to([bob.id, dan.id]).emit('news', 1)),
  ...emits('to a socket and a room that it is in', ({ ann, bob }) => ann.io.to(bob.id).to('a').emit('news', 1)),
  ...emits('to sockets and rooms', ({ ann, dan }) => ann.io.to([dan.id, 'c', 'a']).emit('news', 1)),
  ...emits('except a socket', ({ ann, bob }) => ann.io.except(bob.id).emit('news', 1)),
  ...emits('to a room except a socket', ({ ann, bob }) => ann.io.to('a').except(bob.id).emit('news', 1)),
  ...emits('to a socket except itself', ({ ann, bob }) => ann.io.to(bob.id).except(bob.id).emit('news', 1)),
  ...emits('to an unknown id', ({ ann }) => ann.io.to('AAAAAAAAAAAAAAAAAAAA').emit('news', 1)),
  ...emits('to oneself by id', ({ ann }) => ann.io.to(ann.id).emit('news', 1)),
  ...emits('a broadcast of a socket', ({ ann }) => ann.own.broadcast.emit('news', 1)),
  ...emits('a broadcast of a socket to a room', ({ ann }) => ann.own.broadcast.to('a').emit('news', 1)),
  ...emits('of a socket to a room that it is in', ({ ann }) => ann.own.to('a').emit('news', 1)),
  ...emits('of a socket to a room that it is not in', ({ ann }) => ann.own.to('c').emit('news', 1)),
  ...emits('of a socket to several rooms', ({ bob }) => bob.own.to(['a', 'b']).emit('news', 1)),
  ...emits('of a socket to another', ({ ann, bob }) => ann.own.to(bob.id).emit('news', 1)),
  ...emits('of a socket to itself', ({ ann }) => ann.own.to(ann.id).emit('news', 1)),
  ...emits('of a socket in a room', ({ ann }) => ann.own.in('a').emit('news', 1)),
  ...emits('of a socket except a room', ({ ann }) => ann.own.except('b').emit('news', 1)),
  ...emits('of a socket to a room except another', ({ cid }) => cid.own.to('b').except('a').emit('news', 1)),
];

const kinds = [
  ...emits('values of every kind', ({ ann }) => ann.io.emit('news', 0, -1.5, 'é', '', null, true, [], [[1]], {}, { deep: { er: [null] } })),
  ...emits('no values', ({ ann }) => ann.io.to('b').emit('news')),
  ...emits('names with dots, blanks, stars', async ({ ann }) => {
    for (const name of ['a.b', 'two words', '*', '>', 'all', 'socket.room', '메시지', '']) {
      await ann.io.to('a').emit(name, name);
    }
  }),
  ...emits('rooms with dots, blanks, stars', async ({ ann, bob }) => {
    for (const room of ['a.b', 'two words', '*', '>', 'all', 'socket.room', '메시지', '']) {
      await bob.own.join(room);
      await ann.io.to(room).emit('news', room);
      await ann.io.to(room).to('a').emit('news', room);
    }
  }),
  ...emits('binary to all', ({ ann }) => ann.io.emit('bytes', Buffer.from([1, 2, 3]), { deep: [Buffer.from([4]), 'x'] })),
  ...emits('binary to rooms', ({ ann }) => ann.io.to(['a', 'b']).emit('bytes', Buffer.from([1, 2, 3]), Buffer.alloc(0))),
  ...emits('binary of a socket', ({ ann }) => ann.own.broadcast.emit('bytes', Buffer.from([255]))),
  ...emits('volatile to all', ({ ann }) => ann.io.volatile.emit('news', 1)),
  ...emits('volatile to a room', ({ ann }) => ann.io.volatile.to('a').emit('news', 1)),
  ...emits('volatile of a socket to others', ({ ann }) => ann.own.volatile.to('a').emit('news', 1)),
  ...emits('volatile to oneself', ({ ann }) => ann.own.volatile.emit('news', 1)),
  ...emits('without compression', async ({ ann }) => {
    await ann.io.compress(false).emit('news', 1);
    await ann.io.compress(true).to('a').emit('news', 2);
    await ann.own.compress(false).emit('news', 3);
  }),
  ...emits('everything at once', ({ ann, bob }) => ann.io.to(['a', bob.id]).to('c').except(['nobody', ann.id]).volatile.compress(false).emit('news', Buffer.from([1]))),
];

const refused = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'].flatMap((name) => [
  ...emits(`the reserved name ${name}`, async ({ ann }) => {
    await ann.io.emit(name, 1);
    await ann.own.emit(name, 1);
    await ann.own.broadcast.emit(name, 1);
  }, { only: ['owned'] }),
]);

const order = [
  ...emits('many, to different targets, arrive in order', async ({ ann, bob }) => {
    const all = [];
    for (let i = 0; i < 10; i++) {
      all.push(ann.io.emit('n', i), ann.io.to('a').emit('n', i, 'a'), ann.own.emit('n', i, 'own'), ann.io.to(['a', 'b']).emit('n', i, 'a b'));
      all.push(ann.io.to(bob.id).emit('n', i, 'bob'), ann.own.broadcast.emit('n', i, 'others'));
    }
    await Promise.all(all);
  }, { only: ['owned'] }),
  ...scripted('emit', 'joins and leaves between emits', async (s, cast) => {
    const [ann, bob] = await cast.ready('ann', 'bob');
    for (let i = 0; i < 3; i++) {
      await ann.io.in(bob.id).socketsJoin('a');
      await ann.io.to('a').emit('inside', i);
      await ann.io.in('a').socketsLeave('a');
      await ann.io.to('a').emit('outside', i);
    }
    await ann.io.emit('the end');
    await s.until('bob', 'the end');
  }),
];

// silent is a polling session in the namespace of the case, without a client that polls by itself.
async function silent(s, cast, more) {
  const session = await s.open(more);
  await session.post(`40${cast.namespace},{"name":"raw"}`);
  await session.fetch('["ready"', 'greeting');
  return session;
}

const polling = [
  ...scripted('emit', 'volatile, while no poll waits', async (s, cast) => {
    const session = await silent(s, cast);
    const [ann] = await cast.ready('ann');
    await ann.io.volatile.emit('perhaps', 1);
    await ann.io.volatile.to(['a', 'b']).emit('perhaps', 2);
    await ann.io.emit('surely', 1);
    await session.fetch('surely');
  }),
  ...scripted('emit', 'compressed, and not', async (s, cast) => {
    const session = await silent(s, cast);
    const [ann] = await cast.ready('ann');
    const headers = { 'Accept-Encoding': 'gzip' };
    await ann.io.emit('long', 'x'.repeat(2_000));
    await session.poll('poll', { headers });
    await ann.io.compress(false).emit('long', 'x'.repeat(2_000));
    await session.poll('poll', { headers });
    await ann.io.compress(false).to(['a', 'b']).except('a').emit('long', 'x'.repeat(2_000));
    await ann.io.emit('the end');
    await session.fetch('the end');
  }),
];

export const serverEmits = [...targets, ...kinds, ...refused, ...order, ...polling];
