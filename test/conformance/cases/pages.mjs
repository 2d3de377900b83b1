// Responses for browsers' pages: CORS, preflights, cookies. The server `pages` allows http://app.example and
// http://other.example, with credentials, and sets a cookie; `anyone` allows every origin.

const polling = { transport: 'polling' };
const app = { Origin: 'http://app.example' };

// throughout is a session's requests with some headers.
async function throughout(s, headers) {
  const session = await s.open({ headers });
  await session.post('40', 'post', { headers });
  await session.fetch('["auth"');
  await session.post('42["message"]', 'post', { headers });
  await session.poll('poll', { headers });
}

export const pages = [
  ...['pages', 'anyone'].flatMap((server) => [
    { name: `pages: ${server}, an allowed origin`, server, play: (s) => throughout(s, app) },
    { name: `pages: ${server}, another allowed origin`, server, play: (s) => throughout(s, { Origin: 'http://other.example' }) },
    { name: `pages: ${server}, no origin`, server, play: (s) => throughout(s, {}) },
    {
      name: `pages: ${server}, errors`, server,
      play: async (s) => {
        await s.request('no transport', 'GET', {}, { headers: app });
        await s.request('unknown session', 'GET', { ...polling, sid: 'nobody' }, { headers: app });
        await s.request('method', 'PUT', polling, { headers: app });
        await s.request('version', 'GET', { ...polling, EIO: '3' }, { headers: app });
      },
    },
    {
      name: `pages: ${server}, errors of a session`, server,
      play: async (s) => {
        const session = await s.open({ headers: app });
        await session.post('x'.repeat(20_001), 'too large', { headers: app });
        await s.request('method', 'PUT', { ...polling, sid: session.sid }, { headers: app });
        const first = session.poll('first', { headers: app });
        await s.sleep(50);
        await session.poll('second', { headers: app });
        await first;
      },
    },
    {
      name: `pages: ${server}, preflight`, server,
      play: (s) => s.request('http', 'OPTIONS', polling, {
        headers: { ...app, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type, x-mine' },
      }),
    },
    {
      name: `pages: ${server}, preflight of nothing special`, server,
      play: (s) => s.request('http', 'OPTIONS', polling, { headers: { ...app, 'Access-Control-Request-Method': 'GET' } }),
    },
    {
      name: `pages: ${server}, preflight for a session that does not exist`, server,
      play: (s) => s.request('http', 'OPTIONS', { ...polling, sid: 'nobody' }, { headers: { ...app, 'Access-Control-Request-Method': 'POST' } }),
    },
    {
      name: `pages: ${server}, OPTIONS without an origin`, server,
      play: (s) => s.request('http', 'OPTIONS', polling),
    },
    {
      name: `pages: ${server}, WebSocket of an allowed origin`, server,
      play: async (s) => { await s.joined('ws', '/', { headers: app }); },
    },
    {
      name: `pages: ${server}, WebSocket without an origin`, server,
      play: async (s) => { await s.joined(); },
    },
    {
      name: `pages: ${server}, a refused WebSocket`, server,
      play: async (s) => { s.websocket('ws', { sid: 'nobody' }, { headers: app }); await s.until('ws', 'closed'); },
    },
  ]),
  { name: 'pages: an origin that is not allowed', server: 'pages', play: (s) => s.request('http', 'GET', polling, { headers: { Origin: 'http://evil.example' } }) },
  {
    name: 'pages: preflight of an origin that is not allowed', server: 'pages',
    play: (s) => s.request('http', 'OPTIONS', polling, { headers: { Origin: 'http://evil.example', 'Access-Control-Request-Method': 'POST' } }),
  },
  {
    name: 'pages: WebSocket of an origin that is not allowed', server: 'pages',
    play: async (s) => { s.websocket('ws', {}, { headers: { Origin: 'http://evil.example' } }); await s.until('ws', /0{|closed/); },
  },
  { name: 'pages: nothing is configured, another origin', server: 'calm', play: (s) => s.request('http', 'GET', polling, { headers: { Origin: 'http://evil.example' } }) },
  {
    name: 'pages: nothing is configured, WebSocket of another origin', server: 'calm',
    play: async (s) => { s.websocket('ws', {}, { headers: { Origin: 'http://evil.example' } }); await s.until('ws', /0{|closed/); },
  },
  {
    name: 'pages: nothing is configured, preflight', server: 'calm',
    play: (s) => s.request('http', 'OPTIONS', polling, { headers: { Origin: 'http://evil.example', 'Access-Control-Request-Method': 'POST' } }),
  },
  {
    name: 'pages: the cookie comes with the handshake only', server: 'pages',
    play: async (s) => {
      await throughout(s, {});
      await s.request('error', 'GET', { ...polling, EIO: '3' });
    },
  },
];
