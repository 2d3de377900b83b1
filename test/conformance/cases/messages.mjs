// What sessions carry over either transport, its limits, and what ends them. The messages are Socket.IO's, because both
// servers speak it; `message` is echoed as `message-back`.

const text = { 'Content-Type': 'text/plain;charset=UTF-8' };
const big = (bytes, packet = '42["message-with-ack","x"]') => packet.replace('x', 'x'.repeat(bytes - packet.length + 1));

// gone shows that a session has ended, on both sides.
async function gone(s, session) {
  await session.poll('after');
  await s.until('server', 'disconnect');
}

// ending is a case in which something that a client does in a namespace ends its session.
function ending(name, act, more = {}) {
  return [
    {
      name: `polling: ${name}`, server: 'calm', ...more.polling,
      play: async (s) => {
        const session = await s.connected();
        await session.post(typeof act === 'string' ? act : `b${Buffer.from(act).toString('base64')}`);
        await session.poll();
        await gone(s, session);
      },
    },
    {
      name: `WebSocket: ${name}`, server: 'calm', ...more.websocket,
      play: async (s) => {
        const socket = await s.joined();
        socket.send(act);
        await s.until('ws', 'closed');
        await s.until('server', 'disconnect');
      },
    },
  ];
}

export const messages = [
  {
    name: 'polling: one packet', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post('42["message","hello",1,"2",{"3":[true]}]');
      await session.poll();
    },
  },
  {
    name: 'polling: several packets in one payload', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post('42["message",1]\x1e42["message",2]\x1e42["message",3]');
      await session.fetch('3]');
    },
  },
  {
    name: 'polling: text and binary packets', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post('451-["message",{"_placeholder":true,"num":0}]\x1ebAQIDBA==');
      await session.poll();
    },
  },
  {
    name: 'polling: Unicode', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post('42["message","äöü € 한글 😀","\\u20ac \\ud83d\\ude00"]');
      await session.poll();
    },
  },
  {
    name: 'polling: a POST without a content type', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post('42["message"]', 'post', { headers: {} });
      await session.poll();
    },
  },
  {
    name: 'polling: application/octet-stream', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post('4', 'post', { headers: { 'Content-Type': 'application/octet-stream' } });
      await gone(s, session);
    },
  },
  {
    name: 'polling: a waiting poll is answered by the first message', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const poll = session.poll();
      await session.post('42["say-after","later",100]');
      await poll;
    },
  },
  {
    name: 'polling: what waits comes with the next poll, in one payload', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post('42["count",3]');
      await s.until('server', 'event');
      await s.sleep(200);
      await session.poll();
    },
  },
  {
    name: 'polling: base64 of binary on the way down', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post('42["binary"]');
      await s.sleep(200);
      await session.poll();
    },
  },
  {
    name: 'polling: volatile without and with a waiting poll', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post('42["volatile"]');
      await s.sleep(100);
      const poll = session.poll();
      await s.sleep(100);
      await session.post('42["volatile"]');
      await poll;
    },
  },
  {
    name: 'polling: overlapping polls', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const first = session.poll('first');
      await s.sleep(50);
      await session.poll('second');
      await first;
      await gone(s, session);
    },
  },
  {
    name: 'polling: overlapping POSTs', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const first = session.post(['42["mess', 'age"]', 'x'], 'first');
      await s.sleep(50);
      await session.post('42["message"]', 'second');
      await first;
      await gone(s, session);
    },
  },
  {
    name: 'polling: an abandoned poll', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const abandon = new AbortController();
      const poll = session.poll('poll', { signal: abandon.signal });
      await s.sleep(50);
      abandon.abort();
      await poll;
      await s.until('server', 'disconnect');
      await session.poll('after');
    },
  },
  {
    name: 'polling: an abandoned POST', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const abandon = new AbortController();
      const post = session.post(['42["message"', null], 'post', { signal: abandon.signal });
      await s.sleep(50);
      abandon.abort();
      await post;
      await s.until('server', 'disconnect');
      await session.poll('after');
    },
  },
  {
    name: 'polling: the largest POST', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post(big(20_000, '427["message-with-ack","x"]'));
      await session.fetch('437');
    },
  },
  {
    name: 'polling: a POST that is too large', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post(big(20_001), 'too large');
      await session.post('42["message"]');
      await session.poll();
    },
  },
  {
    name: 'polling: a POST in chunks that is too large', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post([big(20_000), 'y'], 'too large');
      await session.post('42["message"]');
      await session.poll();
    },
  },
  ...ending('a packet that Engine.IO does not know', 'abc'),
  ...ending('an empty packet', ''),
  ...ending('a ping of the client', '2'),
  ...ending('a ping of the client with data', '2probe'),
  ...ending('a message that Socket.IO does not know', '4abc'),
  ...ending('an empty message', '4'),
  ...ending('binary data that nothing announced', new Uint8Array([1, 2])),
  ...ending('the close packet', '1').slice(0, 1),
  ...['0', '3', '3probe', '5', '6', '1x', '7'].map((packet) => ({
    name: `polling: the packet ${packet}`, server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post(packet);
      await session.post('42["message"]', 'echo');
      await session.poll();
    },
  })),
  ...['0', '1', '1x', '3', '3probe', '5', '6'].map((packet) => ({
    name: `WebSocket: the packet ${packet}`, server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.send(packet);
      socket.send('42["message"]');
      await s.until('ws', /message-back|closed/);
    },
  })),
  {
    name: 'polling: the close packet while a poll waits', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      const poll = session.poll();
      await s.sleep(50);
      await session.post('1');
      await poll;
      await gone(s, session);
    },
  },
  {
    name: 'polling: the close packet in the middle of a payload', server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post('42["message",1]\x1e1\x1e42["message",2]');
      await gone(s, session);
    },
  },
  {
    name: 'WebSocket: text', server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.send('42["message","äöü € 한글 😀",{"3":[true,null]}]');
      await s.until('ws', 'message-back');
    },
  },
  {
    name: 'WebSocket: binary', server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
      socket.send(Uint8Array.from([1, 2, 3]));
      socket.send(Uint8Array.from([4, 5, 6]));
      await s.until('ws', '<040506>');
    },
  },
  {
    name: 'WebSocket: fragments', server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.send('42["mess', { fin: false });
      socket.send('age",1]', { fin: true });
      await s.until('ws', 'message-back');
    },
  },
  {
    name: 'WebSocket: a ping of the WebSocket', server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.on('pong', (data) => s.note('ws', `pong ${data}`));
      socket.ping('data');
      await s.until('ws', 'pong');
    },
  },
  {
    name: 'WebSocket: the largest message', server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.send(big(20_000, '427["message-with-ack","x"]'));
      await s.until('ws', '437');
    },
  },
  {
    name: 'WebSocket: a message that is too large', server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.send(big(20_001));
      await s.until('ws', 'closed');
      await s.until('server', 'disconnect');
    },
  },
  {
    name: 'WebSocket: fragments that are too large together', server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.send(big(15_000), { fin: false });
      socket.send(big(15_000), { fin: true });
      await s.until('ws', 'closed');
      await s.until('server', 'disconnect');
    },
  },
  ...Object.entries({
    'text that is not UTF-8': [0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28],
    'a frame without a mask': [0x81, 0x01, 0x34],
    'a reserved bit': [0xc1, 0x81, 0, 0, 0, 0, 0x34],
    'a reserved opcode': [0x83, 0x81, 0, 0, 0, 0, 0x34],
    'a continuation of nothing': [0x80, 0x81, 0, 0, 0, 0, 0x34],
    'a control frame that is too long': [0x89, 0xfe, 0, 126, 0, 0, 0, 0],
    'a fragmented control frame': [0x09, 0x80, 0, 0, 0, 0],
    'a close frame with a code that may not be sent': [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed],
    'a close frame with half a code': [0x88, 0x81, 0, 0, 0, 0, 0x03],
  }).map(([name, bytes]) => ({
    name: `WebSocket: ${name}`, server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket._socket.write(Uint8Array.from(bytes)); // past the client, which would not send it
      await s.until('ws', 'closed');
      await s.until('server', 'disconnect');
    },
  })),
  ...[1000, 1001, 4000].map((code) => ({
    name: `WebSocket: the client closes with ${code}`, server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.close(code, 'bye');
      await s.until('ws', 'closed');
      await s.until('server', 'disconnect');
    },
  })),
  {
    name: 'WebSocket: the client closes without a code', server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.close();
      await s.until('ws', 'closed');
      await s.until('server', 'disconnect');
    },
  },
  {
    name: 'WebSocket: the connection is cut', server: 'calm',
    play: async (s) => {
      const socket = await s.joined();
      socket.terminate();
      await s.until('server', 'disconnect');
    },
  },
  ...['gzip', 'gzip, deflate', 'gzip, deflate, br', '*', 'deflate', 'br', 'gzip;q=0', 'identity', undefined].map((accepted) => ({
    name: `gzip: Accept-Encoding: ${accepted}`, server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post('42["size",2000]');
      await session.poll('poll', { headers: accepted ? { 'Accept-Encoding': accepted } : {} });
    },
  })),
  ...[['size', 1023], ['size', 1024], ['size-plain', 2000]].map(([event, bytes]) => ({
    name: `gzip: ${event} for a reply of ${bytes} bytes`, server: 'calm',
    play: async (s) => {
      const session = await s.connected();
      await session.post(`42["${event}",${bytes - '42["sized",""]'.length}]`);
      await session.poll('poll', { headers: { 'Accept-Encoding': 'gzip' } });
    },
  })),
  {
    name: 'headers: for an old browser', server: 'calm',
    play: async (s) => {
      await s.open({ headers: { 'User-Agent': 'Mozilla/5.0 (Windows NT 10.0; Trident/7.0; rv:11.0) like Gecko' } });
    },
  },
  {
    name: 'headers: of a POST', server: 'calm',
    play: async (s) => {
      const session = await s.open();
      await session.post('40', 'post', { headers: { ...text, 'User-Agent': 'x', Origin: '' } });
    },
  },
];
