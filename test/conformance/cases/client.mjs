// What the official client says about each server: its events, their order, its reasons.

const transports = { websocket: ['websocket'], polling: ['polling'], upgrade: ['polling', 'websocket'] };
const payloads = ['é', 1, null, { deep: [true] }];

const each = (name, play, { kinds = Object.keys(transports), ...more } = {}) => kinds.map((kind) => ({
  name: `client: ${name}, ${kind}`, server: 'calm', ...more,
  play: (s) => play(s, { transports: transports[kind] }, kind),
}));

// lone is for clients that are refused: they close their connection, and whether an upgrade is done by then is chance.
const lone = { kinds: ['websocket', 'polling'] };

// ready waits until a client is connected, and upgraded if it wants that.
async function ready(s, kind, actor = 'ann') {
  await s.until(actor, /^connect$/);
  await s.until(actor, '["auth"');
  if (kind === 'polling') {
    await s.sleep(100); // its next poll waits at the server
  } else if (kind === 'upgrade') {
    await s.until(`${actor} engine`, 'upgrade');
  }
}

export const client = [
  ...each('connect, events, acks', async (s, options, kind) => {
    const ann = s.client('ann', '/', { ...options, auth: { token: 'x' } });
    await ready(s, kind);
    ann.emit('message', ...payloads);
    await s.until('ann', 'message-back');
    s.note('ack', JSON.stringify(await ann.emitWithAck('message-with-ack', 'one')));
    ann.emit('message-with-ack', 1, 2, (...values) => s.note('ack', JSON.stringify(values)));
    await s.until('ack', '[1,2]');
  }),
  ...each('binary', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    ann.emit('message', Buffer.from([1, 2, 3]), { deep: [new Uint8Array([4])] });
    await s.until('ann', 'message-back');
    ann.emit('binary');
    await s.until('ann', 'bytes');
    ann.emit('binary-ack', (value) => s.note('ack', JSON.stringify(value)));
    await s.until('ack', 'Buffer');
  }),
  ...each('emits before it is connected', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    ann.emit('message', 1);
    ann.emit('message', 2);
    await s.until('ann', '["message-back",2]');
    if (kind === 'upgrade') {
      await s.until('ann engine', 'upgrade');
    }
  }),
  ...each('disconnects', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    ann.disconnect();
    await s.until('ann', 'disconnect');
    await s.until('server', 'disconnect');
  }),
  ...each('disconnects and connects again', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    ann.disconnect().connect();
    await ready(s, kind);
    await s.until('server', 'disconnect');
  }),
  ...['kick', 'kick-session'].flatMap((event) => each(`${event} by the server`, async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    ann.emit(event);
    await s.until('ann', 'disconnect');
    await s.until('server', 'disconnect');
    if (event === 'kick') {
      ann.connect();
      await ready(s, kind);
    }
  })),
  ...each('the last words of the server', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    ann.emit('say-and-kick', true);
    await s.until('ann', 'disconnect');
  }),
  ...each('several namespaces on one connection', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    const custom = s.follow('custom', ann.io.socket('/custom', { auth: { a: 1 } }).connect());
    await s.until('custom', '["auth"');
    custom.emit('message', 'here');
    await s.until('custom', 'here');
    custom.disconnect();
    await s.until('custom', 'disconnect');
    ann.emit('message', 'there');
    await s.until('ann', 'there');
    const slow = s.follow('slow', ann.io.socket('/slow').connect());
    await s.until('slow', '["auth"');
    slow.emit('kick-session');
    await s.until('slow', 'disconnect');
    await s.until('ann', 'disconnect');
    await s.until('server', 'disconnect / ');
  }),
  ...each('an unknown namespace', async (s, options) => {
    s.client('ann', '/random', options);
    await s.until('ann', 'connect_error');
  }, lone),
  ...each('a refusal', async (s, options) => {
    s.client('ann', '/refused', options);
    s.client('bob', '/refused', { ...options, auth: { why: true } });
    await s.until('ann', 'connect_error');
    await s.until('bob', 'connect_error');
  }, lone),
  ...each('heartbeats', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    await s.sleep(1_800);
    ann.emit('message', 'alive');
    await s.until('ann', 'alive');
  }, { server: 'quick', quiet: 0 }),
  ...each('does not answer heartbeats', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    const send = ann.io.engine._sendPacket;
    ann.io.engine._sendPacket = function silent(type, ...rest) { return type === 'pong' ? undefined : send.call(this, type, ...rest); };
    await s.until('ann', 'disconnect');
    await s.until('server', 'disconnect');
  }, { server: 'quick' }),
  ...each('sends more than is allowed', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    ann.emit('message', 'x'.repeat(30_000));
    await s.until('ann', 'disconnect');
    await s.until('server', 'disconnect');
  }),
  ...each('sends what Socket.IO cannot decode', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    ann.io.engine.write('2{}');
    await s.until('ann', 'disconnect');
    await s.until('server', 'disconnect');
  }),
  ...each('sends what Engine.IO cannot decode', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    if (kind === 'polling') {
      ann.io.engine.transport.doWrite('abc', () => {});
    } else {
      ann.io.engine.transport.ws.send('abc');
    }
    await s.until('ann', 'disconnect');
    await s.until('server', 'disconnect');
  }),
  ...each('its connection is cut', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    if (kind === 'polling') {
      ann.io.engine.transport.onClose();
    } else {
      ann.io.engine.transport.ws.terminate();
    }
    await s.until('ann', 'disconnect');
    if (kind !== 'polling') { // else the client alone knows
      await s.until('server', 'disconnect');
    }
  }),
  ...each('closes its engine', async (s, options, kind) => {
    const ann = s.client('ann', '/', options);
    await ready(s, kind);
    ann.io.engine.close();
    await s.until('ann', 'disconnect');
    await s.until('server', 'disconnect');
  }),
  ...each('comes back after the connection was cut', async (s, options, kind) => {
    const ann = s.client('ann', '/', { ...options, reconnection: true, reconnectionDelay: 10, randomizationFactor: 0 });
    await ready(s, kind);
    ann.io.engine.close();
    await s.until('ann engine', 'reconnect');
    await ready(s, kind);
  }),
  ...each('the wrong path', async (s, options) => {
    s.client('ann', '/', { ...options, path: '/elsewhere/' });
    await s.until('ann', 'connect_error');
  }),
  ...each('a transport that the server does not have', async (s, options, kind) => {
    s.client('ann', '/', options);
    await s.until('ann', kind === 'websocket' ? /auth/ : 'connect_error');
  }, { server: 'websocket' }),
  ...each('an upgrade that the server does not have', async (s, options, kind) => {
    s.client('ann', '/', options);
    await s.until('ann', kind === 'websocket' ? 'connect_error' : '["auth"');
  }, { server: 'polling' }),
  {
    name: 'client: tries all transports', server: 'websocket',
    play: async (s) => {
      s.client('ann', '/', { transports: ['polling', 'websocket'], tryAllTransports: true });
      await s.until('ann', '["auth"');
    },
  },
  {
    name: 'client: two clients in a room', server: 'calm',
    play: async (s) => {
      const ann = s.client('ann', '/custom');
      const bob = s.client('bob', '/custom', { transports: ['polling'] });
      await ready(s, 'websocket', 'ann');
      await ready(s, 'polling', 'bob');
      await ann.emitWithAck('join', 'red.green');
      await bob.emitWithAck('join', 'red.green');
      ann.emit('to-room', 'red.green');
      await s.until('ann', 'room-event');
      await s.until('bob', 'room-event');
      bob.emit('to-others', 'red.green');
      await s.until('ann', 'others-event');
      bob.disconnect();
      await s.until('server', 'disconnect');
    },
  },
  {
    name: 'client: an ack that never comes', server: 'calm',
    play: async (s) => {
      const ann = s.client('ann');
      await ready(s, 'websocket');
      await ann.timeout(100).emitWithAck('nobody knows this').catch((error) => s.note('ack', error.message));
    },
  },
  {
    name: 'client: retries', server: 'calm',
    play: async (s) => {
      const ann = s.client('ann', '/', { retries: 2, ackTimeout: 5_000 }); // long enough on a busy machine: no second try
      await ready(s, 'websocket');
      s.note('ack', JSON.stringify(await new Promise((resolve) => { ann.emit('message-with-ack', 1, (...values) => resolve(values)); })));
    },
  },
  {
    name: 'client: the connect time-out', server: 'hasty',
    play: async (s) => {
      const ann = s.client('ann', '/random', { reconnection: false });
      await s.until('ann', 'connect_error');
      await s.until('ann engine', 'close');
      ann.disconnect();
    },
  },
];
