// The program of examples/one-file, as the official client sees it: the page, the client's script, two people who talk,
// and a message from NATS.

import { assert, base, scene } from '../node/scene.mjs';

scene('two people talk, and NATS joins in', async (s) => {
  const page = await (await fetch(base)).text();
  assert.match(page, /<script src="\/socket.io\/socket.io.js"><\/script>/);
  const script = await fetch(`${base}/socket.io/socket.io.js`);
  assert.equal(script.status, 200);
  assert.match(await script.text(), /Socket\.IO/);

  const polling = await s.connected('Ann', '/chat_room', { transports: ['polling'] });
  const upgraded = await s.connected('Bob', '/chat_room');
  for (const text of ['hello', '안녕 🎉']) {
    polling.emit('message', text);
    for (const socket of [polling, upgraded]) {
      assert.equal((await s.hear(socket, 'message'))[0], text);
    }
  }
  s.publish(await s.nats(), 'sio.chat_room.emit.all', '["message","from NATS"]');
  for (const socket of [polling, upgraded]) {
    assert.equal((await s.hear(socket, 'message'))[0], 'from NATS');
  }
});
