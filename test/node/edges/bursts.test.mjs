// Bursts of the official client against a slow service in Go, which the test that starts this script runs: it acks
// "chunk" with the length of the data and the number that came with it.

import { assert, scene } from '../scene.mjs';

const ways = { websocket: ['websocket'], polling: ['polling'], both: ['polling', 'websocket'] };

for (const [name, transports] of Object.entries(ways)) {
  for (const [namespace, chunks] of [['/svc', 30], ['/narrow', 60]]) {
    scene(`${chunks} chunks at once in ${namespace} over ${name}`, async (s) => {
      const a = await s.connected('a', namespace, { transports });
      let disconnects = 0;
      a.on('disconnect', () => { disconnects++; });
      const acked = [];
      await Promise.all(Array.from({ length: chunks }, (_, i) => new Promise((resolve) => {
        a.emit('chunk', Buffer.alloc(65536), i, (length, n) => {
          acked.push([length, n]);
          resolve();
        });
      })));
      assert.deepEqual(acked, Array.from({ length: chunks }, (_, i) => [65536, i]));
      assert.equal(disconnects, 0);
    });
  }
}
