// Many clients with their default transports, through a balancer without sticky sessions.

import { io } from 'socket.io-client';
import { assert, base, scene, until } from '../scene.mjs';

const crowd = Number(process.env.PARTYLINE_CROWD);
const atATime = 25; // how many are connecting, so that a slow machine is no time-out

scene(`${crowd} clients connect, upgrade and talk, and none sees an error`, async (s) => {
  const nats = await s.nats();
  await s.service(nats, 'sio._.on.greet', (m) => JSON.stringify([`hello ${m.json()[1]}`]));
  const faults = [];
  const sockets = [];
  try {
    const arrive = async (n) => {
      const socket = io(base, { forceNew: true });
      sockets.push(socket);
      const fault = (what) => (detail) => faults.push(`${n}: ${what} ${detail?.message ?? detail}`);
      socket.on('connect_error', fault('connect_error'));
      socket.on('disconnect', fault('disconnect'));
      ['error', 'reconnect_attempt', 'reconnect_error'].forEach((event) => socket.io.on(event, fault(event)));
      socket.io.engine.on('upgradeError', fault('upgradeError'));
      socket.io.engine.on('close', fault('close'));
      const heard = [];
      socket.on('news', (text) => heard.push(text));
      await until(`client ${n} to connect`, () => socket.connected, 30_000);
      await until(`client ${n} to have a WebSocket`, () => socket.io.engine.transport.name === 'websocket', 30_000);
      assert.equal(await socket.timeout(30_000).emitWithAck('greet', n), `hello ${n}`);
      nats.publish(`sio._.emit.socket.${socket.id}`, JSON.stringify(['news', n]));
      await until(`the news for client ${n}`, () => heard[0] === n, 30_000);
    };
    let next = 0;
    await Promise.all(Array.from({ length: atATime }, async () => {
      while (next < crowd) {
        await arrive(next++);
      }
    }));
    assert.deepEqual(faults, []);
    assert.equal(sockets.filter((socket) => socket.connected).length, crowd);
    const all = [];
    sockets.forEach((socket) => socket.on('everyone', (text) => all.push(text)));
    nats.publish('sio._.emit.all', '["everyone","hears this"]');
    await until('everyone to hear one message', () => all.length >= crowd, 30_000);
    assert.equal(all.length, crowd);
    assert.deepEqual(faults, []);
    // The test checks the edges while all are connected.
    const response = await fetch(process.env.PARTYLINE_CONTROL, { method: 'POST' });
    assert.equal(response.status, 200, await response.text());
  } finally {
    sockets.forEach((socket) => { socket.io.engine.off('close'); socket.disconnect(); });
  }
}, { timeout: 120_000 });
