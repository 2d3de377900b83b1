// The server's methods about sockets: join, leave, disconnect, fetch, rooms and data, for one and for many.

import { scripted } from './scripted.mjs';

// sockets is a case with ann in room a, bob in a and b, cid in none. At the end it lists all rooms.
const sockets = (name, script, more) => scripted('sockets', name, async (s, cast) => {
  const [ann, bob, cid] = await cast.ready('ann', 'bob', 'cid');
  await Promise.all([ann.own.join('a'), bob.own.join('a', 'b')]);
  await script({ s, ann, bob, cid, cast });
  const last = [ann, bob, cid].find((each) => each.socket.connected);
  if (last) {
    await last.io.rooms();
    await last.io.fetchSockets();
  }
}, more);

const rooms = [
  ...sockets('nothing is done', ({ ann }) => ann.own.rooms()),
  ...sockets('one joins and leaves', async ({ ann }) => {
    await ann.own.join('c', 'd');
    await ann.own.join('c');
    await ann.own.rooms();
    await ann.own.leave('a');
    await ann.own.leave('never joined');
    await ann.own.rooms();
  }),
  ...sockets('all join', ({ ann }) => ann.io.socketsJoin('c', 'd')),
  ...sockets('those of a room join', ({ cid }) => cid.io.in('a').socketsJoin('c')),
  ...sockets('those of two rooms join', ({ cid }) => cid.io.in(['a', 'b']).socketsJoin('c')),
  ...sockets('those of a room but one join', ({ cid, ann }) => cid.io.in('a').except(ann.id).socketsJoin('c')),
  ...sockets('all but those of a room join', ({ ann }) => ann.io.except('b').socketsJoin('c')),
  ...sockets('one by its id joins', ({ ann, cid }) => ann.io.in(cid.id).socketsJoin('c', 'd')),
  ...sockets('the others join', ({ ann }) => ann.own.broadcast.socketsJoin('c')),
  ...sockets('the others in a room leave it', ({ ann }) => ann.own.to('a').socketsLeave('a')),
  ...sockets('all leave', ({ ann }) => ann.io.socketsLeave('a')),
  ...sockets('those of a room leave it and another', ({ cid }) => cid.io.in('b').socketsLeave('a', 'b')),
  ...sockets('those of a room leave it except those of another', ({ cid }) => cid.io.in('a').except('b').socketsLeave('a')),
  ...sockets('an empty room joins', ({ ann }) => ann.io.in('nobody').socketsJoin('c')),
  ...sockets('what is joined counts at once', async ({ ann, s }) => {
    await ann.io.in('b').socketsJoin('c');
    await ann.io.to('c').emit('news', 1);
    await s.until('bob', 'news');
  }),
];

const fetching = [
  ...sockets('all are fetched', ({ ann }) => ann.io.fetchSockets()),
  ...sockets('those of a room are fetched', ({ ann }) => ann.io.in('a').fetchSockets()),
  ...sockets('those of two rooms but one are fetched', ({ ann, bob }) => ann.io.in(['a', 'b']).except(bob.id).fetchSockets()),
  ...sockets('the others are fetched', ({ ann }) => ann.own.broadcast.fetchSockets()),
  ...sockets('one by its id is fetched', ({ ann, bob }) => ann.io.in(bob.id).fetchSockets()),
  ...sockets('an empty room is fetched', ({ ann }) => ann.io.in('nobody').fetchSockets()),
  ...sockets('data is set and fetched', async ({ ann, bob }) => {
    await ann.own.setData({ points: 3 });
    await ann.own.setData({ plan: 'pro' });
    await ann.own.data();
    await bob.io.in('a').fetchSockets();
  }),
];

// goes waits until the clients and the application have seen an end.
async function goes(s, ...names) {
  await Promise.all(names.flatMap((name) => [s.until(name, 'disconnect'), s.until(`server ${name}`, 'disconnect')]));
}

const ends = [false, true].flatMap((close) => [
  ...sockets(`all of a room are disconnected, ${close}`, async ({ s, cid }) => {
    await cid.io.in('a').disconnectSockets(close);
    await goes(s, 'ann', 'bob');
  }),
  ...sockets(`all but a room are disconnected, ${close}`, async ({ s, bob }) => {
    await bob.io.except('b').disconnectSockets(close);
    await goes(s, 'ann', 'cid');
  }),
  ...sockets(`one is disconnected by its id, ${close}`, async ({ s, ann, cid }) => {
    await ann.io.in(cid.id).disconnectSockets(close);
    await goes(s, 'cid');
  }),
  ...sockets(`the others are disconnected, ${close}`, async ({ s, bob }) => {
    await bob.own.broadcast.disconnectSockets(close);
    await goes(s, 'ann', 'cid');
  }),
  ...sockets(`all are disconnected, ${close}`, async ({ s, bob }) => {
    await bob.io.disconnectSockets(close);
    await goes(s, 'ann', 'bob', 'cid');
  }),
]);

export const serverSockets = [...rooms, ...fetching, ...ends];
