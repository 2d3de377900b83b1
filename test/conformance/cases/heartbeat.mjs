// The heartbeat and its time-outs: the server pings every 500 ms and waits 500 ms for the pong.

export const heartbeat = [
  {
    name: 'heartbeat: polling', server: 'quick', quiet: 0,
    play: async (s) => {
      const session = await s.open();
      for (let i = 0; i < 3; i++) {
        const start = Date.now();
        await session.poll();
        s.took('poll', 'pinged', start, 200, 500, 900);
        await session.post('3');
      }
    },
  },
  {
    name: 'heartbeat: WebSocket', server: 'quick', quiet: 0,
    play: async (s) => {
      const socket = await s.engine();
      for (let i = 0; i < 3; i++) {
        const start = Date.now();
        await s.until('ws', '2');
        s.took('times', 'pinged', start, 200, 500, 900);
        socket.send('3');
      }
    },
  },
  {
    name: 'heartbeat: polling, no pong', server: 'quick',
    play: async (s) => {
      const session = await s.connected();
      await session.poll();
      const start = Date.now();
      await s.until('server', 'disconnect');
      s.took('times', 'ended', start, 200, 500, 900);
      await session.poll('after');
    },
  },
  {
    name: 'heartbeat: polling, no pong, while a poll waits', server: 'quick',
    play: async (s) => {
      const session = await s.connected();
      await session.poll();
      await session.poll('waiting');
      await s.until('server', 'disconnect');
      await session.poll('after');
    },
  },
  {
    name: 'heartbeat: polling without a poll', server: 'quick',
    play: async (s) => {
      const session = await s.connected();
      await s.until('server', 'disconnect');
      await session.poll('after');
    },
  },
  {
    name: 'heartbeat: WebSocket, no pong', server: 'quick',
    play: async (s) => {
      await s.joined();
      await s.until('ws', '2');
      const start = Date.now();
      await s.until('ws', 'closed');
      s.took('times', 'closed', start, 200, 500, 900);
      await s.until('server', 'disconnect');
    },
  },
  {
    name: 'heartbeat: another packet prolongs the wait for the pong, once', server: 'quick',
    play: async (s) => {
      const socket = await s.joined();
      await s.until('ws', '2');
      const start = Date.now();
      await s.sleep(200);
      socket.send('42["message",1]');
      await s.sleep(200);
      socket.send('42["message",2]');
      await s.until('ws', 'closed');
      s.took('times', 'closed', start, 500, 700, 900);
      await s.until('server', 'disconnect');
    },
  },
  {
    name: 'heartbeat: a pong that was not asked for puts the next ping off', server: 'quick', quiet: 0,
    play: async (s) => {
      const socket = await s.engine();
      const start = Date.now();
      await s.sleep(300);
      socket.send('3');
      await s.until('ws', '2');
      s.took('times', 'pinged', start, 500, 800, 1100);
    },
  },
  {
    name: 'heartbeat: a pong with data', server: 'quick', quiet: 0,
    play: async (s) => {
      const socket = await s.engine();
      await s.until('ws', '2');
      const start = Date.now();
      socket.send('3probe');
      await s.until('ws', '2');
      s.took('times', 'pinged', start, 200, 500, 900);
    },
  },
  {
    name: 'heartbeat: a ping of the client', server: 'quick',
    play: async (s) => {
      const socket = await s.joined();
      socket.send('2');
      await s.until('ws', 'closed');
      await s.until('server', 'disconnect');
    },
  },
  {
    name: 'heartbeat: WebSocket, after the close packet', server: 'quick',
    play: async (s) => {
      const socket = await s.joined();
      socket.send('1');
      await s.until('ws', 'closed');
      await s.until('server', 'disconnect');
    },
  },
  {
    name: 'heartbeat: goes on after an upgrade', server: 'quick', quiet: 0,
    play: async (s) => {
      const session = await s.open();
      const socket = await s.upgrading(session);
      socket.send('5');
      for (let i = 0; i < 2; i++) {
        await s.until('ws', /^2$/);
        socket.send('3');
      }
    },
  },
  {
    name: 'heartbeat: a ping over polling that was not answered before the upgrade', server: 'quick', quiet: 0,
    play: async (s) => {
      const session = await s.connected();
      await session.poll();
      const socket = await s.upgrading(session);
      socket.send('5');
      await s.sleep(750); // the pong would be due 500 ms after the next ping
    },
  },
  {
    name: 'heartbeat: the session times out during an upgrade', server: 'quick',
    play: async (s) => {
      const session = await s.connected();
      await s.upgrading(session);
      await s.until('ws', 'closed');
      await s.until('server', 'disconnect');
      await session.poll('after');
    },
  },
];
