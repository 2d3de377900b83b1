// Acks both ways: those of handlers, and those that the server asks of one client or of many.

import { scripted } from './scripted.mjs';

// acked notes the ack of an event, or that none came within some time.
async function acked(s, member, event, ...values) {
  const ack = await member.socket.timeout(2_000).emitWithAck(event, ...values).catch((error) => error.message);
  s.note(member.name, `ack of ${event}: ${JSON.stringify(ack)}`);
}

const byHandlers = [
  ...scripted('ack', 'of a handler', async (s, cast) => {
    const [ann] = await cast.ready('ann');
    await acked(s, ann, 'sum', 1, 2);
    await acked(s, ann, 'echo as ack', { deep: [null] });
    await acked(s, ann, 'later');
    ann.socket.emit('echo as ack', 1, 'two', [3], (...values) => s.note('ann', `ack ${JSON.stringify(values)}`));
    ann.socket.emit('echo as ack', (...values) => s.note('ann', `ack ${JSON.stringify(values)}`));
    await s.until('ann', 'ack []');
  }),
  ...scripted('ack', 'of a handler, binary', async (s, cast) => {
    const [ann] = await cast.ready('ann');
    await acked(s, ann, 'echo as ack', Buffer.from([1, 2, 3]));
    await acked(s, ann, 'echo as ack', { deep: [Buffer.from([4]), 'x'] });
    ann.socket.emit('echo', Buffer.from([5]), { six: Buffer.from([6]) });
    await s.until('ann', 'echoed');
  }),
  ...scripted('ack', 'of a handler that acks twice', async (s, cast) => {
    const [ann] = await cast.ready('ann');
    let acks = 0;
    ann.socket.emit('twice', (value) => s.note('ann', `ack ${++acks}: ${value}`));
    await s.until('ann', 'ack 1');
    await acked(s, ann, 'sum', 1, 1);
  }),
  ...scripted('ack', 'of two handlers of one event', async (s, cast) => {
    const [ann] = await cast.ready('ann');
    await acked(s, ann, 'two handlers');
    await acked(s, ann, 'sum', 1, 1);
  }),
  ...scripted('ack', 'while another waits', async (s, cast) => {
    const [ann] = await cast.ready('ann');
    await Promise.all([acked(s, ann, 'later'), acked(s, ann, 'sum', 1, 1)]);
  }),
  ...['nobody handles this', 'fail', 'throw', 'forbidden'].flatMap((event) => scripted('ack', `none: ${event}`, async (s, cast) => {
    const [ann] = await cast.ready('ann');
    await ann.socket.timeout(300).emitWithAck(event).catch((error) => s.note('ann', error.message));
    await acked(s, ann, 'sum', 1, 1);
  })),
  ...scripted('ack', 'to a client that has gone', async (s, cast) => {
    const [ann, bob] = await cast.ready('ann', 'bob');
    ann.socket.emit('later', () => s.note('ann', 'an ack'));
    await s.until('heard ann', 'later');
    ann.socket.disconnect();
    await s.sleep(150);
    await acked(s, bob, 'sum', 1, 1);
  }),
];

// one is a case in which the server asks ann something.
const one = (name, script, more) => scripted('ask one', name, async (s, cast) => {
  const [ann, bob] = await cast.ready('ann', 'bob');
  ann.answers('question', 'an answer', 'and more');
  ann.answers('bytes?', Buffer.from([1, 2, 3]));
  ann.answers('nothing?');
  await script({ s, ann, bob });
}, more);

const ofOne = [
  ...one('it answers', ({ ann }) => ann.own.emitWithAck('question', 1)),
  ...one('it answers in time', ({ ann }) => ann.own.timeout(3_000).emitWithAck('question', 1)),
  ...one('it answers with binary data', ({ ann }) => ann.own.timeout(3_000).emitWithAck('bytes?', Buffer.from([9]))),
  ...one('it answers with nothing', ({ ann }) => ann.own.timeout(3_000).emitWithAck('nothing?')),
  ...one('it does not answer', ({ ann }) => ann.own.timeout(200).emitWithAck('unheard of', 1)),
  ...one('several questions at once', async ({ s, ann }) => {
    const first = ann.own.timeout(500).emitWithAck('unheard of', 1);
    await s.until('ann', 'unheard of');
    const second = ann.own.timeout(3_000).emitWithAck('question', 1);
    await s.until('ann', 'question');
    await Promise.all([first, second, ann.own.timeout(3_000).emitWithAck('bytes?')]);
  }),
  ...one('it answers too late', async ({ s, ann, bob }) => {
    ann.socket.on('slow', (ack) => setTimeout(() => ack('late'), 400));
    await ann.own.timeout(150).emitWithAck('slow');
    await s.sleep(400);
    await bob.own.emit('the end');
  }),
  ...one('it answers twice', async ({ ann }) => {
    ann.socket.on('again', (ack) => { ack('once'); ack('twice'); });
    await ann.own.timeout(3_000).emitWithAck('again');
    await ann.own.timeout(3_000).emitWithAck('question', 1);
  }),
  ...one('asked by another, in the namespace', ({ ann, bob }) => bob.io.to(ann.id).timeout(3_000).emitWithAck('question', 1)),
  ...one('asked by another, in the namespace, without an answer', ({ ann, bob }) => bob.io.to(ann.id).timeout(200).emitWithAck('unheard of', 1)),
  ...one('it goes meanwhile', async ({ s, ann, bob }) => {
    const question = bob.io.to(ann.id).timeout(500).emitWithAck('unheard of', 1);
    await s.until('ann', 'unheard of');
    ann.socket.disconnect();
    await question;
  }),
];

// many is a case in which the server asks ann and bob, who are in a room, and cid, who is not.
const many = (name, script, more) => scripted('ask many', name, async (s, cast) => {
  const [ann, bob, cid] = await cast.ready('ann', 'bob', 'cid');
  await Promise.all([ann.own.join('a'), bob.own.join('a', 'b')]);
  [ann, bob, cid].forEach((each) => each.answers('who?', each.name, 'more'));
  [ann, bob].forEach((each) => each.answers('bytes?', Buffer.from(each.name)));
  ann.answers('only ann', 'I do');
  await script({ s, ann, bob, cid, cast });
}, more);

const ofMany = [
  ...many('all answer', ({ ann }) => ann.io.timeout(3_000).emitWithAck('who?')),
  ...many('all of a room answer', ({ ann }) => ann.io.to('a').timeout(3_000).emitWithAck('who?', 1)),
  ...many('all of two rooms answer, once each', ({ cid }) => cid.io.to(['a', 'b']).timeout(3_000).emitWithAck('who?', 1)),
  ...many('all of two rooms and a socket answer', ({ cid }) => cid.io.to(['a', 'b']).to(cid.id).timeout(3_000).emitWithAck('who?', 1)),
  ...many('all but a room answer', ({ ann }) => ann.io.except('b').timeout(3_000).emitWithAck('who?')),
  ...many('all others answer', ({ ann }) => ann.own.broadcast.timeout(3_000).emitWithAck('who?')),
  ...many('the others in a room answer', ({ ann }) => ann.own.to('a').timeout(3_000).emitWithAck('who?')),
  ...many('with binary data', ({ ann }) => ann.io.to('a').timeout(3_000).emitWithAck('bytes?', Buffer.from([1, 2]))),
  ...many('an empty room', ({ ann }) => ann.io.to('nobody').timeout(3_000).emitWithAck('who?')),
  ...many('one does not answer', ({ ann }) => ann.io.to('a').timeout(300).emitWithAck('only ann')),
  ...many('no answer', ({ ann }) => ann.io.timeout(300).emitWithAck('unheard of')),
  ...many('one is late', async ({ s, ann, bob }) => {
    bob.socket.on('slow', (ack) => setTimeout(() => ack('late'), 600));
    ann.answers('slow', 'quick');
    await ann.io.to('a').timeout(200).emitWithAck('slow');
    await s.sleep(500);
    await ann.io.to('a').timeout(3_000).emitWithAck('who?');
  }),
  ...many('one goes meanwhile', async ({ s, ann, bob }) => {
    const question = ann.io.to('a').timeout(500).emitWithAck('only ann');
    await s.until('bob', 'only ann');
    bob.socket.disconnect();
    await question;
  }),
  ...many('one comes meanwhile, and is not asked', async ({ s, ann, cast }) => {
    const question = ann.io.timeout(500).emitWithAck('only ann');
    await s.until('bob', 'only ann');
    await cast.ready('dan');
    await question;
  }),
  ...many('two questions at once', async ({ s, ann, cid }) => {
    const first = cid.io.timeout(500).emitWithAck('only ann');
    await Promise.all(['ann', 'bob', 'cid'].map((who) => s.until(who, 'only ann')));
    await Promise.all([first, ann.io.to('a').timeout(3_000).emitWithAck('who?')]);
  }),
  ...many('without a time', async ({ ann, bob }) => {
    [ann, bob].forEach((each) => each.socket.on('slow', (ack) => setTimeout(() => ack(each.name), 100)));
    await ann.io.to('a').emitWithAck('slow');
  }),
];

export const serverAcks = [...byHandlers, ...ofOne, ...ofMany];
