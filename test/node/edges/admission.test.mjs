// An edge refuses clients with 503 if too many come at a time, or if it drains. The official client treats that as a
// transport error and reconnects by itself, over polling and over WebSocket.

import { io } from 'socket.io-client';
import { assert, base, scene, until } from '../scene.mjs';

const admin = process.env.PARTYLINE_ADMIN;
const perSecond = Number(process.env.PARTYLINE_RATE);
const transports = { polling: ['polling'], websocket: ['websocket'], both: ['polling', 'websocket'] };
const long = 60_000; // a client's delays grow to five seconds

const arrive = (sockets, options) => {
  const socket = io(base, { forceNew: true, ...options });
  const life = { socket, errors: [], ends: [] };
  socket.on('connect_error', (error) => life.errors.push(error));
  socket.on('disconnect', (reason) => life.ends.push(reason));
  sockets.push(life);
  return life;
};

const post = async (path) => {
  const response = await fetch(`${admin}${path}`, { method: 'POST' });
  assert.ok(response.ok, `${path}: ${response.status} ${await response.text()}`);
};

for (const [name, list] of Object.entries(transports)) {
  scene(`a crowd over ${name}: clients that must wait come back by themselves`, async () => {
    const sockets = [];
    try {
      for (let n = 0; n < 3 * perSecond; n++) {
        arrive(sockets, { transports: list });
      }
      await until('all to be there', () => sockets.every(({ socket }) => socket.connected), long);
      const late = sockets.filter(({ errors }) => errors.length > 0);
      assert.ok(late.length > 0, 'no client had to wait');
      for (const { errors, ends } of late) {
        assert.match(errors[0].message, /(xhr poll|websocket) error/);
        assert.deepEqual(ends, []);
      }
    } finally {
      sockets.forEach(({ socket }) => socket.disconnect());
    }
  }, { timeout: 2 * long });

  scene(`draining, over ${name}: clients see the transport close, and come back once they may`, async () => {
    const sockets = [];
    try {
      const { socket, errors, ends } = arrive(sockets, { transports: list });
      await until('the client to connect', () => socket.connected, long);
      await post('/drain');
      await until('the end', () => ends.length > 0, long);
      assert.deepEqual(ends, ['transport close']);
      assert.ok(socket.active, 'it does not try again');
      const before = errors.length;
      await until('a failed attempt', () => errors.length > before, long);
      await post('/drain?cancel');
      await until('the client to come back', () => socket.connected, long);
      assert.deepEqual(ends, ['transport close']);
    } finally {
      await post('/drain?cancel');
      sockets.forEach(({ socket }) => socket.disconnect());
    }
  }, { timeout: 2 * long });
}
