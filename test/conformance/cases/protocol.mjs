// Socket.IO packets over a raw WebSocket: connecting, events, acks, binary, disconnecting, and what is not a packet.

// exchange is a case that joins a namespace, sends packets, and waits for something.
const exchange = (name, namespace, packets, last, more = {}) => ({
  name: `protocol: ${name}`, server: 'calm', ...more,
  play: async (s) => {
    const socket = await s.joined('ws', namespace);
    packets.forEach((packet) => socket.send(typeof packet === 'string' ? packet : Uint8Array.from(packet)));
    await s.until('ws', last);
  },
});

// fatal is a case in which packets end the session.
const fatal = (name, packets, more = {}) => ({
  name: `protocol: ${name}`, server: 'calm', ...more,
  play: async (s) => {
    const socket = await s.joined();
    [packets].flat().forEach((packet) => socket.send(packet));
    await s.until('ws', /closed|alive/);
    await s.until('server', 'disconnect');
  },
});

// harmless is a case in which packets do nothing: the session answers an event afterwards.
const harmless = (name, packets, more = {}) => ({
  name: `protocol: ${name}`, server: 'calm', ...more,
  play: async (s) => {
    const socket = await s.joined();
    [packets].flat().forEach((packet) => socket.send(packet));
    await s.sleep(50);
    socket.send('42["message","still there"]');
    await s.until('ws', /still there|closed/);
  },
});

// first is a case with packets of a session that has joined no namespace.
const first = (name, packets, last, more = {}) => ({
  name: `protocol: ${name}`, server: 'calm', ...more,
  play: async (s) => {
    const socket = await s.engine();
    [packets].flat().forEach((packet) => socket.send(packet));
    await s.until('ws', last);
  },
});

export const protocol = [
  first('connect to the main namespace', '40', '["auth"'),
  first('connect to the main namespace, by name', '40/,', '["auth"'),
  first('connect with a payload', '40{"token":"123"}', '["auth"'),
  first('connect with null', '40null', /auth|closed/),
  first('connect to another namespace', '40/custom,', '["auth"'),
  first('connect to another namespace without the comma', '40/custom', '["auth"'),
  first('connect to another namespace with a payload', '40/custom,{"token":"abc"}', '["auth"'),
  first('connect to a namespace that a pattern names', '40/dynamic-1,', '["auth"'),
  first('connect to an unknown namespace', '40/random', 'Invalid namespace'),
  first('connect to an unknown namespace with a payload', '40/random,{"a":1}', 'Invalid namespace'),
  first('connect to a namespace with a query', '40/custom?token=1,', /auth|Invalid/),
  first('connect to a namespace of odd characters', '40/a b*.>%ä€,', 'Invalid namespace'),
  first('connect to an unknown namespace twice', ['40/random', '40/random'], /Invalid namespace/),
  first('connect to a namespace that refuses', '40/refused,', 'not you'),
  first('connect to a namespace that refuses, with data', '40/refused,{"why":true}', 'not you'),
  {
    name: 'protocol: connect again after a refusal', server: 'calm',
    play: async (s) => {
      const socket = await s.engine();
      socket.send('40/refused,');
      await s.until('ws', 'not you');
      socket.send('40/refused,{"why":true}');
      await s.until('ws', 'code');
    },
  },
  first('a blank instead of a packet type', '4 ', /auth|closed/),
  first('connect with an ack id', '407{"a":1}', /auth|closed/),
  ...['40[]', '40"a"', '401', '40{', '40true', '40[1]'].map((packet) => first(`connect with the payload ${packet.slice(2)}`, packet, /auth|closed/)),
  ...['4abc', '4', '47', '4-1', '49["a"]'].map((packet) => first(`an invalid handshake ${packet}`, packet, 'closed')),
  ...['42["message"]', '421["message"]', '41', '43[]', '430[]', '44', '44{"message":"x"}', '451-["a",{"_placeholder":true,"num":0}]'].map((packet) => first(`${packet} without a namespace`, [packet, Uint8Array.from([1])], 'closed')),
  {
    name: 'protocol: nothing is said', server: 'hasty',
    play: async (s) => {
      const start = Date.now();
      await s.engine();
      await s.until('ws', 'closed');
      s.took('times', 'closed', start, 100, 500, 1500);
    },
  },
  {
    name: 'protocol: nothing is said over polling', server: 'hasty',
    play: async (s) => {
      const session = await s.open();
      await session.poll();
      await session.poll('after');
    },
  },
  {
    name: 'protocol: only an unknown namespace is asked for', server: 'hasty',
    play: async (s) => {
      const socket = await s.engine();
      socket.send('40/random');
      await s.until('ws', 'closed');
    },
  },
  {
    name: 'protocol: a namespace is joined in time', server: 'hasty',
    play: async (s) => {
      await s.joined();
      await s.sleep(800);
    },
  },
  {
    name: 'protocol: a namespace is joined in time and left', server: 'hasty',
    play: async (s) => {
      const socket = await s.joined();
      socket.send('41');
      await s.sleep(800);
    },
  },
  {
    name: 'protocol: an event while being admitted', server: 'calm',
    play: async (s) => {
      const socket = await s.engine();
      socket.send('40/slow,');
      await s.sleep(50);
      socket.send('42/slow,["message"]');
      await s.until('ws', 'closed');
    },
  },
  {
    name: 'protocol: gone while being admitted', server: 'calm', quiet: 300,
    play: async (s) => {
      const socket = await s.engine();
      socket.send('40/slow,');
      await s.sleep(30);
      socket.close();
      await s.until('ws', 'closed');
    },
  },
  {
    name: 'protocol: a second CONNECT while being admitted', server: 'calm', quiet: 300,
    play: async (s) => {
      const socket = await s.engine();
      socket.send('40/slow,');
      await s.sleep(50);
      socket.send('40/slow,');
      await s.until('ws', /auth|closed/);
    },
  },
  fatal('a second CONNECT', '40'),
  ...[false, true].map((waits) => ({
    name: `protocol: a second CONNECT over polling${waits ? ', while a poll waits' : ''}`, server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const poll = waits ? session.poll() : undefined;
      await s.sleep(50);
      await session.post('40');
      await (poll ?? session.poll());
      await s.until('server', 'disconnect');
      await session.poll('after');
    },
  })),
  {
    name: 'protocol: connect to a namespace twice in a row, over polling', server: 'calm',
    play: async (s) => {
      const session = await s.open();
      await session.post('40\x1e40/custom,');
      await session.fetch('/custom,["auth"');
    },
  },
  fatal('an event for a namespace that was not joined', '42/custom,["message"]'),
  fatal('a disconnect from a namespace that was not joined', '41/custom,'),
  fatal('an ack for a namespace that was not joined', '43/custom,1[]'),
  fatal('a CONNECT_ERROR', '44{"message":"x"}'),
  fatal('a CONNECT_ERROR without data', '44'),
  fatal('a disconnect with data', '41{}'),
  ...['{}', '"x"', '[]', '[null]', '[true]', '[{"a":1}]', '[[]]', 'x', '{', '["message"', '["message"]x', '["connect"]', '["connect_error"]', '["disconnect"]', '["disconnecting"]', '["newListener"]', '["removeListener"]', 'abc["message"]', '-1["message"]', '1.5["message"]'].map((data) => fatal(`an event 42${data}`, `42${data}`)),
  ...['1{}', '1"x"', '{}', '1x', '1null'].map((data) => fatal(`an ack 43${data}`, `43${data}`)),
  ...['450-["message"]', '45["message"]', '45-["message"]', '4511-["message"]', '45x-["message"]', '451.5-["message"]', '45-1-["message"]', '451-["connect"]', '451-{}', '451-x'].map((packet) => fatal(`a binary event ${packet}`, packet)),
  fatal('text while attachments are due', ['451-["message",{"_placeholder":true,"num":0}]', '42["message"]']),
  fatal('binary data that nothing announced', [Uint8Array.from([1])]),
  fatal('a placeholder out of range', ['451-["message",{"_placeholder":true,"num":1}]', Uint8Array.from([1])]),
  fatal('a negative placeholder', ['451-["message",{"_placeholder":true,"num":-1}]', Uint8Array.from([1])]),
  fatal('a placeholder that is no number', ['451-["message",{"_placeholder":true,"num":"0"}]', Uint8Array.from([1])]),
  harmless('an event without data', '42'),
  harmless('an event without data, with an id', '421'),
  harmless('an ack without a request', ['430[]', '4399["a",1]']),
  harmless('an ack without an id', '43["a"]'),
  harmless('an ack without data', '431'),
  harmless('a binary ack without a request', ['461-1[{"_placeholder":true,"num":0}]', Uint8Array.from([1])]),
  harmless('an event without a handler', '42["nobody knows this"]'),
  harmless('an event with an id that is not acked', '425["nobody knows this"]'),
  exchange('an event', '/', ['42["message",1,"2",{"3":[true]}]'], 'message-back'),
  exchange('an event for the main namespace by name', '/', ['42/,["message",1]'], 'message-back'),
  exchange('an event of another namespace', '/custom', ['42/custom,["message",1]'], 'message-back'),
  exchange('an event whose name is a number', '/', ['42[7]', '42["message"]'], 'message-back'),
  exchange('an event whose name is empty', '/', ['42[""]', '42["message"]'], 'message-back'),
  exchange('an event whose name is connection', '/', ['42["connection"]', '42["message"]'], 'message-back'),
  exchange('an event whose name is error', '/', ['42["error","x"]', '42["message"]'], 'message-back'),
  exchange('an event with a name of dots and stars', '/', ['42["a..b.*.>.%25"]', '42["message"]'], 'message-back'),
  exchange('white space in JSON', '/', ['42 [ "message" , 1 ]'], /message-back|closed/),
  exchange('numbers that JSON writes in several ways', '/', ['42["message",1.0,1e3,-0]'], 'message-back'),
  exchange('an event with an ack', '/', ['42456["message-with-ack",1,"2",{"3":[false]}]'], '43456'),
  exchange('an event with an ack in another namespace', '/custom', ['42/custom,456["message-with-ack",1]'], '456['),
  exchange('an event with the ack id 0', '/', ['420["message-with-ack",1]'], '430'),
  exchange('an event with an ack id that begins with 0', '/', ['42007["message-with-ack",1]'], '437'),
  exchange('the largest ack id', '/', ['429007199254740991["message-with-ack",1]'], '439'),
  exchange('an ack id that is too large', '/', ['429007199254740993["message-with-ack",1]'], /43|closed/),
  exchange('an ack without arguments', '/', ['421["message-with-ack"]'], '431'),
  exchange('a binary event', '/', ['452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', [1, 2, 3], [4, 5, 6]], '<040506>'),
  exchange('a binary event with ten attachments', '/', [`4510-["message",${Array.from({ length: 10 }, (_, num) => `{"_placeholder":true,"num":${num}}`)}]`, ...Array.from({ length: 10 }, (_, i) => [i + 16])], '<19>'),
  exchange('a binary event whose placeholders are deep', '/', ['451-["message",{"a":[{"_placeholder":true,"num":0}]}]', [1]], '<01>'),
  exchange('a binary event with an empty attachment', '/', ['451-["message",{"_placeholder":true,"num":0}]', []], '<>'),
  exchange('a binary event with an ack', '/', ['452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', [1, 2, 3], [4, 5, 6]], '<040506>'),
  exchange('a binary event in another namespace', '/custom', ['451-/custom,["message",{"_placeholder":true,"num":0}]', [7]], '<07>'),
  exchange('binary of the server', '/', ['42["binary"]'], '<04>'),
  exchange('a binary ack of the server', '/', ['429["binary-ack"]'], '<010203>'),
  exchange('a placeholder in an event without attachments', '/', ['42["message",{"_placeholder":true,"num":0}]'], 'message-back'),
  exchange('many events in order', '/', ['42["count",20]'], '19]'),
  {
    name: 'protocol: disconnect from the main namespace', server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.send('41');
      await s.until('server', 'disconnect');
      socket.send('42["message"]');
      await s.until('ws', 'closed');
    },
  },
  {
    name: 'protocol: disconnect from one of two namespaces', server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.send('40/custom');
      await s.until('ws', '/custom,["auth"');
      socket.send('41/custom');
      socket.send('42["message","message to main namespace"]');
      await s.until('ws', 'message-back');
      socket.send('42/custom,["message"]');
      await s.until('ws', 'closed');
      await s.until('server', 'disconnect / ');
    },
  },
  {
    name: 'protocol: connect again after a disconnect', server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.send('41');
      await s.until('server', 'disconnect');
      socket.send('40{"again":true}');
      await s.until('ws', 'again');
    },
  },
  ...[['kick', 'the server disconnects the socket'], ['kick-session', 'the server ends the session']].map(([event, name]) => ({
    name: `protocol: ${name}, one of two namespaces`, server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.send('40/custom,');
      await s.until('ws', '/custom,["auth"');
      socket.send(`42/custom,["${event}"]`);
      await s.until('ws', /^41/);
      await s.until('server', 'disconnect /custom');
      if (event === 'kick') {
        socket.send('42["message"]');
        await s.until('ws', 'message-back');
      } else {
        await s.until('ws', 'closed');
      }
    },
  })),
  ...[true, false].flatMap((session) => [
    exchange(`the last words before a disconnect${session ? ' with the session' : ''}`, '/', [`42["say-and-kick",${session}]`], session ? 'closed' : '41'),
    {
      name: `protocol: over polling, the last words before a disconnect${session ? ' with the session' : ''}`, server: 'calm',
      play: async (s) => {
        const session_ = await s.connected();
        await session_.post(`42["say-and-kick",${session}]`);
        await session_.fetch('41');
        if (session) {
          await session_.poll();
          await session_.poll('after');
        }
      },
    },
    {
      name: `protocol: over polling, a disconnect${session ? ' with the session' : ''} while a poll waits`, server: 'calm',
      play: async (s) => {
        const session_ = await s.connected();
        await session_.post(`42["kick-after",${session}]`);
        await session_.poll();
        if (session) {
          await session_.poll('next');
          await session_.poll('after');
        }
      },
    },
  ]),
  {
    name: 'protocol: rooms', server: 'calm',
    play: async (s) => {
      const ann = await s.joined('ann');
      const bob = await s.joined('bob');
      ann.send('421["join","red"]');
      await s.until('ann', '431');
      bob.send('421["join","red"]');
      await s.until('bob', '431');
      ann.send('42["to-room","red"]');
      await s.until('ann', 'room-event');
      await s.until('bob', 'room-event');
      ann.send('42["to-others","red"]');
      await s.until('bob', 'others-event');
      bob.send('422["leave","red"]');
      await s.until('bob', '432');
      ann.send('42["to-room","red"]');
      await s.until('ann', 'room-event');
      ann.close();
      await s.until('server', 'disconnect');
    },
  },
  {
    name: 'protocol: the handshake as a service sees it', server: 'calm',
    play: async (s) => {
      const ann = s.client('ann', '/', {
        auth: { token: [1] }, query: { a: '1', empty: '' }, extraHeaders: { 'X-Mine': 'one', Cookie: 'a=b; c=d', 'User-Agent': 'test' },
      });
      await s.until('ann', '["auth"');
      // Ours has in the handshake what the reference has in the socket and its connection.
      const { sid, session, transport, ...handshake } = await ann.emitWithAck('handshake');
      delete handshake.headers['sec-websocket-key'];
      for (const [name, value] of Object.entries(handshake).sort()) {
        const sorted = typeof value === 'object' ? Object.fromEntries(Object.entries(value).sort()) : value;
        s.note('handshake', JSON.stringify({ [name]: sorted }).slice(1, -1));
      }
    },
  },
  ...[
    'a=x;y&b=50%', 'a=1&a=2', 'a+b=c+d%2Be', '=x&y&z=&&', 'a[]=1&a[]=2', 'a=%zz%4&%=%', 'a=%00%22%5c', 'a=%C3%BC&b=%EF%BB%BFx',
    'a=%E9&b=%E9%E9x&c=%E2%82&d=%F0%9F%98&e=%ED%A0%80x&f=%F0%9F%98%80%C0%AF&g=%F4%90%80%80', '__proto__=x&constructor=y', 'a=1#b=2', 'a=b=c',
  ].map((more) => ({
    name: `protocol: the query ${more}`, server: 'calm',
    play: async (s) => {
      const { query, url } = await handshakeOf(s, more);
      s.note('query', JSON.stringify(Object.entries(query).sort()));
      s.note('url', url);
    },
  })),
  ...[
    ['Latin-1', { 'X-Mine': 'J\xfcrgen \xff\x80' }], ['UTF-8', { 'X-Mine': 'J\xc3\xbcrgen' }], ['twice', { 'X-Mine': ['1', '2'], Accept: ['a', 'b'] }],
    ['cookies in two lines', { Cookie: ['a=1', 'b=2'] }],
    ['only once', { 'User-Agent': ['a', 'b'], Referer: ['a', 'b'], Authorization: ['a', 'b'], 'Content-Type': ['a', 'b'], 'Retry-After': ['1', '2'] }],
    ['white space', { 'X-Mine': ' \t a \t b \t ' }], ['empty', { 'X-Mine': '' }],
  ].map(([what, headers]) => ({
    name: `protocol: headers, ${what}`, server: 'calm',
    play: async (s) => s.note('headers', JSON.stringify(Object.entries((await handshakeOf(s, '', headers)).headers).sort())),
  })),
];

// handshakeOf returns what the application has of the request that began a session.
async function handshakeOf(s, more, headers = {}) {
  const { body } = await s.request('http', 'GET', `${s.target({ transport: 'polling' })}&${more}`, { headers });
  const mine = { transport: 'polling', sid: JSON.parse(body.slice(1)).sid };
  await s.request('connect', 'POST', mine, { body: '40' });
  await packet(s, mine, '42["auth"');
  await s.request('ask', 'POST', mine, { body: '427["handshake"]' });
  const [known] = JSON.parse((await packet(s, mine, '437')).slice(3));
  delete known.query.case;
  return known;
}

// packet polls until a packet with that beginning has come.
async function packet(s, mine, beginning) {
  for (;;) {
    const { status, body } = await s.request('', 'GET', mine, { quiet: true });
    const found = body.split('\x1e').find((one) => one.startsWith(beginning));
    if (status !== 200 || found) {
      return found;
    }
  }
}
