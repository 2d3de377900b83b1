// How sessions begin, and how what is not a session's beginning is refused.

const polling = { transport: 'polling' };

export const handshake = [
  {
    name: 'handshake: polling', server: 'calm',
    play: async (s) => { await s.open(); },
  },
  {
    name: 'handshake: WebSocket', server: 'calm',
    play: async (s) => { await s.engine(); },
  },
  {
    name: 'handshake: as without any configuration', server: 'standard',
    play: async (s) => { await s.open(); await s.engine(); },
  },
  {
    name: 'handshake: only polling is enabled', server: 'polling',
    play: async (s) => {
      const session = await s.open();
      s.websocket('direct');
      await s.until('direct', 'closed');
      s.websocket('upgrade', { sid: session.sid });
      await s.until('upgrade', 'closed');
      await session.post('40');
      await session.fetch('["auth"');
    },
  },
  {
    name: 'handshake: only WebSocket is enabled', server: 'websocket',
    play: async (s) => {
      await s.engine();
      await s.request('http', 'GET', polling);
    },
  },
  ...[undefined, 'abc', '3', '5', ''].flatMap((EIO) => [
    {
      name: `handshake: polling, EIO=${EIO}`, server: 'calm',
      play: (s) => s.request('http', 'GET', { ...polling, EIO }),
    },
    {
      name: `handshake: WebSocket, EIO=${EIO}`, server: 'calm',
      play: async (s) => { s.websocket('ws', { EIO }); await s.until('ws', 'closed'); },
    },
  ]),
  ...[undefined, 'abc', '', 'webtransport', 'constructor'].flatMap((transport) => [
    {
      name: `handshake: HTTP, transport=${transport}`, server: 'calm',
      play: (s) => s.request('http', 'GET', { transport }),
    },
    {
      name: `handshake: WebSocket, transport=${transport}`, server: 'calm',
      play: async (s) => { s.websocket('ws', { transport }); await s.until('ws', 'closed'); },
    },
  ]),
  ...['POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'].map((method) => ({
    name: `handshake: method ${method}`, server: 'calm',
    play: (s) => s.request('http', method, polling),
  })),
  {
    name: 'handshake: transport=websocket without an upgrade', server: 'calm',
    play: (s) => s.request('http', 'GET', { transport: 'websocket' }),
  },
  {
    name: 'handshake: transport=polling with an upgrade', server: 'calm',
    play: async (s) => { s.websocket('ws', polling); await s.until('ws', 'closed'); },
  },
  {
    name: 'handshake: POST with an upgrade', server: 'calm',
    play: async (s) => {
      s.tcp('tcp', `POST ${s.target({ transport: 'websocket' })} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`);
      await s.until('tcp', 'closed');
    },
  },
  ...['Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short'].map((header, i) => ({
    name: `handshake: broken WebSocket request ${i + 1}`, server: 'calm',
    play: async (s) => {
      s.tcp('tcp', `GET ${s.target({ transport: 'websocket' })} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${header}\r\n\r\n`);
      await s.until('tcp', 'closed');
    },
  })),
  {
    name: 'handshake: other parameters are ignored', server: 'calm',
    play: (s) => s.request('http', 'GET', { ...polling, t: 'abc', b64: '1', x: 'y' }),
  },
  {
    name: 'handshake: JSONP', server: 'calm',
    play: (s) => s.request('http', 'GET', { ...polling, j: '0' }),
  },
  {
    name: 'handshake: an empty sid is ignored', server: 'calm',
    play: (s) => s.request('http', 'GET', { ...polling, sid: '' }),
  },
  {
    name: 'handshake: of a repeated parameter the last counts', server: 'calm',
    play: async (s) => {
      await s.request('good last', 'GET', '/socket.io/?EIO=3&EIO=4&transport=abc&transport=polling');
      await s.request('bad last', 'GET', '/socket.io/?EIO=4&transport=polling&transport=abc');
    },
  },
  {
    name: 'handshake: path without the slash', server: 'calm',
    play: (s) => s.request('http', 'GET', polling, { path: '/socket.io' }),
  },
  {
    name: 'handshake: a longer path', server: 'calm',
    play: (s) => s.request('http', 'GET', polling, { path: '/socket.io/more' }),
  },
  ...[['my-app'], ['my-app', 'other'], ['b', 'a']].map((protocols) => ({
    name: `handshake: WebSocket, subprotocols ${protocols}`, server: 'calm',
    play: async (s) => { await s.engine('ws', {}, { protocols }); },
  })),
  {
    name: 'handshake: an upgrade with subprotocols', server: 'calm',
    play: async (s) => {
      const session = await s.open();
      const socket = s.websocket('ws', { sid: session.sid }, { protocols: ['my-app', 'other'] });
      await s.until('ws', 'opened');
      socket.send('2probe');
      await s.until('ws', '3probe');
    },
  },
  ...['a,a', 'a b', '', 'a,', ',a', 'a;b', '"a"', 'a,\xe9', 'a/b', 'a\r\nSec-WebSocket-Protocol: a'].map((protocols) => ({
    name: `handshake: WebSocket, bad subprotocols ${JSON.stringify(protocols)}`, server: 'calm',
    play: async (s) => {
      s.tcp('tcp', `GET ${s.target({ transport: 'websocket' })} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`
        + `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YWFhYWFhYWFhYWFhYWFhYQ==\r\nSec-WebSocket-Protocol: ${protocols}\r\n\r\n`);
      await s.until('tcp', 'closed');
    },
  })),
  {
    name: 'handshake: HTTP/1.0', server: 'calm',
    play: async (s) => {
      s.tcp('tcp', `GET ${s.target({ transport: 'polling', sid: 'nobody' })} HTTP/1.0\r\n\r\n`);
      await s.until('tcp', 'closed');
    },
  },
  ...['GET', 'POST', 'PUT', 'OPTIONS'].map((method) => ({
    name: `session: unknown sid, ${method}`, server: 'calm',
    play: (s) => s.request('http', method, { ...polling, sid: 'nobody' }),
  })),
  ...['nobody', '__proto__', 'constructor'].map((sid) => ({
    name: `session: unknown sid ${sid}, WebSocket`, server: 'calm',
    play: async (s) => { s.websocket('ws', { sid }); await s.until('ws', 'closed'); },
  })),
  ...['PUT', 'DELETE', 'HEAD', 'OPTIONS'].map((method) => ({
    name: `session: method ${method}`, server: 'calm',
    play: async (s) => {
      const session = await s.open();
      await s.request('http', method, { ...polling, sid: session.sid });
      await session.post('40');
      await session.fetch('["auth"');
    },
  })),
  ...[undefined, '3'].map((EIO) => ({
    name: `session: poll and upgrade with EIO=${EIO}`, server: 'calm',
    play: async (s) => {
      const session = await s.open();
      await s.request('http', 'GET', { ...polling, sid: session.sid, EIO });
      s.websocket('ws', { sid: session.sid, EIO });
      await s.until('ws', 'closed');
      await session.post('40');
    },
  })),
  {
    name: 'session: the other transport without an upgrade', server: 'calm',
    play: async (s) => {
      const session = await s.open();
      await s.request('http', 'GET', { transport: 'websocket', sid: session.sid });
      const socket = s.websocket('ws');
      const line = await new Promise((resolve) => { socket.on('message', (data) => resolve(data.toString())); });
      const { sid } = JSON.parse(line.slice(1));
      await s.request('http', 'GET', { ...polling, sid });
      await s.request('http', 'POST', { ...polling, sid }, { body: '40' });
      socket.send('40');
      await s.until('ws', '["auth"');
    },
  },
];
