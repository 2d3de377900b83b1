// What cases have in common whose code runs on the server.

import { scripted } from './scripted.mjs';

// code is a case whose code runs on the server while ann and bob are connected. clients prepares them.
export const code = (group, name, run, clients = () => {}, more = {}) => scripted(`code, ${group}`, name, async (s, cast) => {
  const [ann] = await cast.ready('ann'); // first, for the order of maps
  const [bob] = await cast.ready('bob');
  await clients({ s, ann, bob, cast });
  s.timed = true; // code may wait, as the end of a case does
  await ann.run(run);
  await ann.own.emit('the end');
  await s.until('ann', 'the end');
}, { only: 'owned', applications: ['node'], ...more });

// answering makes both clients answer a question with more than one value.
export const answering = ({ ann, bob }) => [ann, bob].forEach((each) => {
  each.answers('question', each.name, [1], Buffer.from(each.name));
  each.answers('nothing');
});

// going makes bob go when he is asked to.
export const going = ({ bob }) => bob.socket.on('go', () => bob.socket.disconnect());
