// The upgrade from polling to WebSocket, and its races.

// alive shows that a session still works over polling.
async function alive(s, session) {
  await session.post('42["message","still polling"]', 'alive');
  await session.poll('alive');
}

export const upgrade = [
  {
    name: 'upgrade: with a poll that waits', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const poll = session.poll();
      const socket = await s.upgrading(session);
      await poll;
      socket.send('5');
      socket.send('42["message","hello"]');
      await s.until('ws', 'message-back');
    },
  },
  {
    name: 'upgrade: the poll comes after the probe', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = await s.upgrading(session);
      const start = Date.now();
      await session.poll();
      s.took('times', 'released', start, 0, 100, 400);
      await session.poll();
      socket.send('5');
      socket.send('42["message","hello"]');
      await s.until('ws', 'message-back');
    },
  },
  {
    name: 'upgrade: without a probe', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = s.websocket('ws', { sid: session.sid });
      await s.until('ws', 'opened');
      socket.send('5');
      socket.send('42["message","hello"]');
      await s.until('ws', /message-back|closed/);
    },
  },
  {
    name: 'upgrade: two probes', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = await s.upgrading(session);
      socket.send('2probe');
      await s.until('ws', '3probe');
      socket.send('5');
      socket.send('42["message","hello"]');
      await s.until('ws', 'message-back');
    },
  },
  {
    name: 'upgrade: while a poll waits that has not been released yet', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const poll = session.poll();
      await s.sleep(50);
      const socket = s.websocket('ws', { sid: session.sid });
      await s.until('ws', 'opened');
      socket.send('5');
      await poll;
      socket.send('42["message","hello"]');
      await s.until('ws', 'message-back');
    },
  },
  ...[['GET', undefined], ['POST', '42["message"]']].map(([method, body]) => ({
    name: `upgrade: polling afterwards, ${method}`, server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = await s.upgrading(session);
      socket.send('5');
      socket.send('42["message","one"]');
      await s.until('ws', 'message-back');
      await s.request('http', method, { transport: 'polling', sid: session.sid }, { body });
      socket.send('42["message","two"]');
      await s.until('ws', 'two');
    },
  })),
  {
    name: 'upgrade: a second WebSocket afterwards', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = await s.upgrading(session);
      socket.send('5');
      socket.send('42["message","one"]');
      await s.until('ws', 'message-back');
      const second = s.websocket('second', { sid: session.sid });
      second.on('open', () => second.send('2probe'));
      await s.until('second', 'closed');
      socket.send('42["message","two"]');
      await s.until('ws', 'two');
    },
  },
  {
    name: 'upgrade: a second WebSocket at the same time', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = await s.upgrading(session);
      s.websocket('second', { sid: session.sid });
      await s.until('second', 'closed');
      socket.send('5');
      socket.send('42["message","hello"]');
      await s.until('ws', 'message-back');
    },
  },
  {
    name: 'upgrade: of a session that began with WebSocket', server: 'calm',
    play: async (s) => {
      const socket = s.websocket('ws');
      const open = await new Promise((resolve) => { socket.once('message', (data) => resolve(data.toString())); });
      const { sid } = JSON.parse(open.slice(1));
      const second = s.websocket('second', { sid });
      await s.until('second', 'opened');
      second.send('2probe');
      await s.until('second', /3probe|closed/);
      socket.send('40');
      await s.until('ws', '["auth"');
    },
  },
  ...['2', '2other', '3probe', '42["message"]', '1', '6', 'x', ''].map((packet) => ({
    name: `upgrade: ${JSON.stringify(packet)} instead of a probe`, server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = s.websocket('ws', { sid: session.sid });
      await s.until('ws', 'opened');
      socket.send(packet);
      await s.until('ws', 'closed');
      await alive(s, session);
    },
  })),
  {
    name: 'upgrade: binary instead of a probe', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = s.websocket('ws', { sid: session.sid });
      await s.until('ws', 'opened');
      socket.send(Uint8Array.from([0x32]));
      await s.until('ws', 'closed');
      await alive(s, session);
    },
  },
  {
    name: 'upgrade: a message behind the probe', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = await s.upgrading(session);
      socket.send('42["message"]');
      await s.until('ws', 'closed');
      await alive(s, session);
    },
  },
  {
    name: 'upgrade: a message that is too large', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = s.websocket('ws', { sid: session.sid });
      await s.until('ws', 'opened');
      socket.send('x'.repeat(20_001));
      await s.until('ws', 'closed');
      await alive(s, session);
    },
  },
  {
    name: 'upgrade: the client gives up', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = await s.upgrading(session);
      socket.close(1000);
      await s.until('ws', 'closed');
      await s.sleep(50);
      await alive(s, session);
      const again = s.websocket('again', { sid: session.sid });
      await s.until('again', 'opened');
      again.send('2probe');
      await s.until('again', '3probe');
    },
  },
  {
    name: 'upgrade: the connection is cut after the probe', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = await s.upgrading(session);
      socket.terminate();
      await s.until('ws', 'closed');
      await s.sleep(50);
      await alive(s, session);
    },
  },
  ...['before the probe', 'after the probe'].map((when) => ({
    name: `upgrade: times out ${when}`, server: 'hasty',
    play: async (s) => {
      const session = await s.connected();
      const start = Date.now();
      const socket = s.websocket('ws', { sid: session.sid });
      await s.until('ws', 'opened');
      if (when.startsWith('after')) {
        socket.send('2probe');
      }
      await s.until('ws', 'closed');
      s.took('times', 'closed', start, 0, 500, 1500);
      await alive(s, session);
    },
  })),
  {
    name: 'upgrade: polling goes on meanwhile', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = await s.upgrading(session);
      await session.post('42["message",1]');
      await session.poll();
      await session.post('42["message",2]');
      await s.until('server', 'event');
      await s.until('server', 'event');
      await s.sleep(100);
      socket.send('5');
      await s.until('ws', '["message-back",2]');
    },
  },
  {
    name: 'upgrade: the client closes the session by polling meanwhile', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await s.upgrading(session);
      await session.post('1');
      await s.until('ws', 'closed');
      await s.until('server', 'disconnect');
      await session.poll('after');
    },
  },
  {
    name: 'upgrade: of a session that has ended', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post('1');
      s.websocket('ws', { sid: session.sid });
      await s.until('ws', 'closed');
    },
  },
  {
    name: 'upgrade: overlapping polls meanwhile', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      s.websocket('ws', { sid: session.sid });
      await s.until('ws', 'opened');
      const first = session.poll('first');
      await s.sleep(50);
      await session.poll('second');
      await first;
      await s.until('ws', 'closed');
      await s.until('server', 'disconnect');
    },
  },
  {
    name: 'upgrade: the server ends the session meanwhile', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = await s.upgrading(session);
      await session.post('42["kick-session"]');
      await s.until('server', 'disconnect');
      await s.sleep(100);
      socket.send('5');
      await s.until('ws', 'closed');
      await session.poll('after');
    },
  },
  {
    name: 'upgrade: the server ends the session meanwhile, and the client polls on', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await s.upgrading(session);
      await session.post('42["kick-session"]');
      await s.until('server', 'disconnect');
      await s.sleep(100);
      await session.poll();
      await session.poll('next');
      await session.poll('after');
      await s.until('ws', 'closed');
    },
  },
  {
    name: 'upgrade: the connection is cut afterwards', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const socket = await s.upgrading(session);
      socket.send('5');
      socket.send('42["message"]');
      await s.until('ws', 'message-back');
      socket.terminate();
      await s.until('server', 'disconnect');
      await session.poll('after');
    },
  },
];
