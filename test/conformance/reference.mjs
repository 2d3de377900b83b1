// The application on the npm reference, one server for each entry of servers.mjs. run.mjs starts it.

import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { serveApplication, serveServers } from './application.mjs';
import { pairedAdapter } from './pair.mjs';
import { referenceOptions, servers } from './servers.mjs';

const urls = {};
for (const [name, settings] of Object.entries(servers)) {
  // Other paths get 404, as with `new Server(port)`.
  const http = createServer((request, response) => response.writeHead(404).end());
  const adapter = name === 'pair' ? pairedAdapter() : undefined;
  const io = new Server(http, { ...referenceOptions(settings), adapter });
  if (adapter) {
    [io, new Server({ adapter })].forEach(serveServers);
  }
  serveApplication(io);
  await new Promise((resolve) => { http.listen(0, '127.0.0.1', resolve); });
  urls[name] = `http://127.0.0.1:${http.address().port}`;
}
process.send({ urls });
process.on('disconnect', () => process.exit());
