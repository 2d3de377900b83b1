// Official clients for the tests in ../recovery. They connect to /chat at one of several edges, each time another one, come
// and go, and write what they receive to a file, one line of JSON each.
//
//   node recovery.mjs FILE URL,URL,… '[{"name":"a","rooms":["r1"]}, …]'

import { openSync, writeSync } from 'node:fs';
import { Manager } from 'socket.io-client';
import parser from 'socket.io-msgpack-parser';

const [file, urls, auths] = process.argv.slice(2);
const out = openSync(file, 'a');
const edges = urls.split(',');
const write = (line) => writeSync(out, `${JSON.stringify(line)}\n`);
const anEdge = () => edges[Math.floor(Math.random() * edges.length)];

JSON.parse(auths).forEach((auth, i) => {
  const { name } = auth;
  const manager = new Manager(anEdge(), {
    transports: [['websocket'], ['polling'], ['polling', 'websocket']][i % 3],
    ...(i % 2 === 1 && { parser }),
    reconnectionDelay: 300,
    reconnectionDelayMax: 1000,
    timeout: 3000,
    forceNew: true,
  });
  const socket = manager.socket('/chat', { auth });
  let left = Date.now();
  manager.on('reconnect_attempt', () => { manager.uri = anEdge(); });
  socket.on('connect', () => write({ name, sid: socket.id, recovered: socket.recovered, away: Date.now() - left }));
  socket.on('disconnect', (reason) => {
    left = Date.now();
    if (reason.startsWith('io ')) {
      write({ name, wrong: `it was disconnected: ${reason}` });
    }
  });
  socket.on('connect_error', (error) => {
    if (error.data !== undefined || !error.type) { // of the namespace; an edge that is down has a type
      if (error.message !== 'timeout') {
        write({ name, wrong: `it was refused: ${error.message}` });
      }
    }
  });
  // Attachments have no JSON: only their place counts.
  socket.on('e', (...args) => write({ name, event: ['e', ...args.map((arg) => (Buffer.isBuffer(arg) ? {} : arg))] }));
  if (i % 2 === 0) { // some come and go
    setInterval(() => manager.engine?.close(), 4000 + 500 * i);
  }
});
