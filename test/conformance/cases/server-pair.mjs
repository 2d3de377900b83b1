// Events between two servers of the application.

import { oneServer, scripted } from './scripted.mjs';

// talk is a case in which ann's server sends to the other one.
const talk = (name, script, more = {}) => scripted('servers', name, async (s, cast, mode) => {
  const ann = cast.client('ann', {}, { namespace: `/${mode}` });
  await ann.ready();
  await script({ ann, s, tag: s.tag });
}, { server: 'pair', ...oneServer, ...more });

export const serverPair = [
  ...talk('an event', async ({ ann, s, tag }) => {
    await ann.io.serverSideEmit('hello', tag, 1, 'two', null, { three: [3] });
    await s.until('other server', 'hello');
  }),
  ...talk('several events, in order', async ({ ann, s, tag }) => {
    for (let i = 0; i < 5; i++) {
      await ann.io.serverSideEmit('hello', tag, i);
    }
    await s.until('other server', 'hello [4]');
  }, { only: 'owned' }), // else any instance sends each, and nothing orders what different ones send
  ...talk('binary data', async ({ ann, s, tag }) => {
    await ann.io.serverSideEmit('hello', tag, Buffer.from([1, 2, 3]), { deep: Buffer.from([4]) });
    await s.until('other server', 'hello');
  }),
  ...talk('an event without a handler', async ({ ann, s, tag }) => {
    await ann.io.serverSideEmit('unheard of', tag, 1);
    await ann.io.serverSideEmit('hello', tag, 2);
    await s.until('other server', 'hello');
  }),
  ...talk('an event with an ack', ({ ann, tag }) => ann.io.serverSideEmitWithAck('add', tag, 1, 2)),
  ...talk('a reserved name', ({ ann, tag }) => ann.io.serverSideEmit('connect', tag, 1)),
];
