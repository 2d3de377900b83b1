// Where ours differs from the reference, why, and in exactly which lines. With `only`, one application differs: services
// or node. A case that differs in another way fails, and so does one that is listed here and agrees. docs/differences.md
// shows these; `node list.mjs` prints its table.

const unknownSession = '400 {content-type: application/json} {"code":1,"message":"Session ID unknown"}';
const lastNoop = '200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} 6';

export const differences = [
  {
    title: 'Pages of other origins are refused',
    reference: 'It answers them, and leaves it to the browser to hide the reply. Browsers do not do that for WebSockets.',
    ours: 'An origin that is neither its own nor in `cors.origins` gets `Forbidden`, code 4, also for a preflight ([why](decisions/0001-origins.md)).',
    cases: {
      'pages: an origin that is not allowed': {
        reference: ['http: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} {set-cookie: io=<sid>; Path=/; HttpOnly; SameSite=Lax} {vary: Origin} {access-control-allow-credentials: true} 0{"sid":"<sid>","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20000}'],
        ours: ['http: 403 {content-type: application/json} {vary: Origin} {access-control-allow-credentials: true} {"code":4,"message":"Forbidden"}'],
      },
      'pages: preflight of an origin that is not allowed': {
        reference: ['http: 204 {vary: Access-Control-Request-Headers, Origin} {access-control-allow-credentials: true} {access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE}'],
        ours: ['http: 403 {content-type: application/json} {vary: Origin} {access-control-allow-credentials: true} {"code":4,"message":"Forbidden"}'],
      },
      'pages: WebSocket of an origin that is not allowed': {
        reference: [
          'ws: opened {vary: Origin} {access-control-allow-credentials: true}',
          'ws: 0{"sid":"<sid>","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20000}',
        ],
        ours: ['ws: refused 400 {content-type: text/html} Forbidden, closed'],
      },
      'pages: nothing is configured, another origin': {
        reference: ['http: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} 0{"sid":"<sid>","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20000}'],
        ours: ['http: 403 {content-type: application/json} {"code":4,"message":"Forbidden"}'],
      },
      'pages: nothing is configured, WebSocket of another origin': {
        reference: [
          'ws: opened',
          'ws: 0{"sid":"<sid>","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20000}',
        ],
        ours: ['ws: refused 400 {content-type: text/html} Forbidden, closed'],
      },
      'pages: nothing is configured, preflight': {
        reference: ['http: 400 {content-type: application/json} {"code":2,"message":"Bad handshake method"}'],
        ours: ['http: 403 {content-type: application/json} {"code":4,"message":"Forbidden"}'],
      },
    },
  },
  {
    title: 'A packet out of turn always ends with `forced server close`',
    reference: 'The application reads `forced close` where the transport can be closed at once, and `forced server close` elsewhere.',
    ours: 'The reason is always `forced server close`. Clients see the same.',
    cases: {
      'protocol: a second CONNECT': {
        reference: ['server /: disconnect / forced close []'],
        ours: ['server /: disconnect / forced server close []'],
      },
      'protocol: a second CONNECT over polling, while a poll waits': {
        reference: ['server /: disconnect / forced close []'],
        ours: ['server /: disconnect / forced server close []'],
      },
      'protocol: an event for a namespace that was not joined': {
        reference: ['server /: disconnect / forced close []'],
        ours: ['server /: disconnect / forced server close []'],
      },
      'protocol: a disconnect from a namespace that was not joined': {
        reference: ['server /: disconnect / forced close []'],
        ours: ['server /: disconnect / forced server close []'],
      },
      'protocol: an ack for a namespace that was not joined': {
        reference: ['server /: disconnect / forced close []'],
        ours: ['server /: disconnect / forced server close []'],
      },
      'protocol: a CONNECT_ERROR': {
        reference: ['server /: disconnect / forced close []'],
        ours: ['server /: disconnect / forced server close []'],
      },
      'protocol: a CONNECT_ERROR without data': {
        reference: ['server /: disconnect / forced close []'],
        ours: ['server /: disconnect / forced server close []'],
      },
      'protocol: disconnect from one of two namespaces': {
        reference: ['server /: disconnect / forced close []'],
        ours: ['server /: disconnect / forced server close []'],
      },
    },
  },
  {
    title: 'A WebSocket that cannot become a session is refused before it is opened',
    reference: 'With another `EIO` than 4, or `transport=polling`, it accepts the WebSocket. Then it closes it or writes an HTTP reply into it.',
    ours: 'The request gets the same error, as for all other errors.',
    cases: {
      'handshake: WebSocket, EIO=undefined': {
        reference: [
          'ws: opened',
          'ws: error WS_ERR_UNEXPECTED_RSV_1',
          'ws: closed 1006',
        ],
        ours: ['ws: refused 400 {content-type: text/html} Unsupported protocol version, closed'],
      },
      'handshake: WebSocket, EIO=abc': {
        reference: [
          'ws: opened',
          'ws: error WS_ERR_UNEXPECTED_RSV_1',
          'ws: closed 1006',
        ],
        ours: ['ws: refused 400 {content-type: text/html} Unsupported protocol version, closed'],
      },
      'handshake: WebSocket, EIO=3': {
        reference: [
          'ws: opened',
          'ws: error WS_ERR_UNEXPECTED_RSV_1',
          'ws: closed 1006',
        ],
        ours: ['ws: refused 400 {content-type: text/html} Unsupported protocol version, closed'],
      },
      'handshake: WebSocket, EIO=5': {
        reference: [
          'ws: opened',
          'ws: error WS_ERR_UNEXPECTED_RSV_1',
          'ws: closed 1006',
        ],
        ours: ['ws: refused 400 {content-type: text/html} Unsupported protocol version, closed'],
      },
      'handshake: WebSocket, EIO=': {
        reference: [
          'ws: opened',
          'ws: error WS_ERR_UNEXPECTED_RSV_1',
          'ws: closed 1006',
        ],
        ours: ['ws: refused 400 {content-type: text/html} Unsupported protocol version, closed'],
      },
      'handshake: transport=polling with an upgrade': {
        reference: [
          'ws: opened',
          'ws: closed 1005',
        ],
        ours: ['ws: refused 400 {content-type: text/html} Bad request, closed'],
      },
    },
  },
  {
    title: 'The words of WebSocket errors',
    reference: 'Statuses and close codes for requests and frames that break RFC 6455.',
    ours: 'The same, in the words of another library. A close frame with half a code counts as one without; no client sends these.',
    cases: {
      'handshake: broken WebSocket request 1': {
        reference: ['tcp: 400 Bad Request Missing or invalid Sec-WebSocket-Version header'],
        ours: ["tcp: 400 Bad Request websocket: unsupported version: 13 not found in 'Sec-Websocket-Version' header"],
      },
      'handshake: broken WebSocket request 2': {
        reference: ['tcp: 400 Bad Request Missing or invalid Sec-WebSocket-Key header'],
        ours: ["tcp: 400 Bad Request websocket: not a websocket handshake: 'Sec-WebSocket-Key' header must be Base64 encoded value of 16-byte in length"],
      },
      'handshake: broken WebSocket request 3': {
        reference: ['tcp: 400 Bad Request Missing or invalid Sec-WebSocket-Key header'],
        ours: ["tcp: 400 Bad Request websocket: not a websocket handshake: 'Sec-WebSocket-Key' header must be Base64 encoded value of 16-byte in length"],
      },
      'WebSocket: a frame without a mask': {
        reference: ['ws: closed 1002'],
        ours: ['ws: closed 1002 bad MASK'],
      },
      'WebSocket: a reserved bit': {
        reference: ['ws: closed 1002'],
        ours: ['ws: closed 1002 RSV1 set'],
      },
      'WebSocket: a reserved opcode': {
        reference: ['ws: closed 1002'],
        ours: ['ws: closed 1002 bad opcode 3'],
      },
      'WebSocket: a continuation of nothing': {
        reference: ['ws: closed 1002'],
        ours: ['ws: closed 1002 continuation after FIN'],
      },
      'WebSocket: a control frame that is too long': {
        reference: ['ws: closed 1002'],
        ours: ['ws: closed 1002 len > 125 for control'],
      },
      'WebSocket: a fragmented control frame': {
        reference: ['ws: closed 1002'],
        ours: ['ws: closed 1002 FIN not set on control'],
      },
      'WebSocket: a close frame with a code that may not be sent': {
        reference: ['ws: closed 1002'],
        ours: ['ws: closed 1002 bad close code 1005'],
      },
      'WebSocket: a close frame with half a code': {
        reference: [
          'server /: disconnect / transport error []',
          'ws: closed 1002',
        ],
        ours: [
          'server /: disconnect / transport close []',
          'ws: closed 1005',
        ],
      },
    },
  },
  {
    title: 'Paths beside `/socket.io/`',
    reference: 'It compares only the beginning of the path. On another path, a WebSocket waits for a second.',
    ours: '`/socket.io` works too (`addTrailingSlash: false`), `/socket.io/anything` does not. Another path gets 404 at once.',
    cases: {
      'handshake: path without the slash': {
        reference: ['http: 404'],
        ours: ['http: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} 0{"sid":"<sid>","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20000}'],
      },
      'handshake: a longer path': {
        reference: ['http: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} 0{"sid":"<sid>","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20000}'],
        ours: ['http: 404 {content-type: text/plain; charset=utf-8} 404 page not found'],
      },
      'client: the wrong path, websocket': {
        reference: ['ann: connect_error: websocket error  (socket hang up)'],
        ours: ['ann: connect_error: websocket error  (Unexpected server response: 404)'],
      },
    },
  },
  {
    title: 'No JSONP',
    reference: 'The parameter `j` asks for JSONP, for browsers without CORS.',
    ours: '`j` is ignored. Clients of protocol 4 never send it.',
    cases: {
      'handshake: JSONP': {
        reference: ['http: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} ___eio[0]("0{\\"sid\\":\\"<sid>\\",\\"upgrades\\":[\\"websocket\\"],\\"pingInterval\\":25000,\\"pingTimeout\\":20000,\\"maxPayload\\":20000}");'],
        ours: ['http: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} 0{"sid":"<sid>","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20000}'],
      },
    },
  },
  {
    title: 'Replies are compressed with gzip only',
    reference: 'It also compresses with `deflate`.',
    ours: 'A client that accepts only `deflate` gets the reply uncompressed. No browser does that.',
    cases: {
      'gzip: Accept-Encoding: deflate': {
        reference: ['poll: 200 {content-type: text/plain; charset=UTF-8} {content-encoding: deflate} {cache-control: no-store} 42["sized","<2000 times x>"]'],
        ours: ['poll: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} 42["sized","<2000 times x>"]'],
      },
    },
  },
  {
    title: 'No header for Internet Explorer',
    reference: 'It sends `X-XSS-Protection: 0` to Internet Explorer.',
    ours: 'It does not. That filter is gone.',
    cases: {
      'headers: for an old browser': {
        reference: ['handshake: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} {x-xss-protection: 0} 0{"sid":"<sid>","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20000}'],
        ours: ['handshake: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} 0{"sid":"<sid>","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20000}'],
      },
    },
  },
  {
    title: 'A ping under way survives an upgrade',
    reference: 'If a client upgrades while it owes a pong, its heartbeat stops for good.',
    ours: 'It pings over the WebSocket after the usual interval.',
    cases: {
      'heartbeat: a ping over polling that was not answered before the upgrade': {
        ours: ['ws: 2'],
      },
    },
  },
  {
    title: 'A session that began with WebSocket cannot be upgraded',
    reference: 'A second WebSocket takes over.',
    ours: 'It is refused. The protocol has upgrades from polling only.',
    cases: {
      'upgrade: of a session that began with WebSocket': {
        reference: ['second: 3probe'],
        ours: ['second: closed 1005'],
      },
    },
  },
  {
    title: 'A blank is not a digit',
    reference: 'A blank counts as 0: as packet type CONNECT, or as an ack id.',
    ours: 'A blank is no packet type. Before JSON it is white space.',
    cases: {
      'protocol: a blank instead of a packet type': {
        reference: [
          'server /: connect /',
          'ws: 40{"sid":"<sid>"}',
          'ws: 42["auth",{}]',
        ],
        ours: ['ws: closed 1005'],
      },
      'protocol: white space in JSON': {
        reference: ['server /: event / message +ack'],
        ours: ['server /: event / message'],
      },
    },
  },
  {
    title: 'Ack ids end at 2^53-1',
    reference: 'It rounds a larger id, and acks one that the client did not send.',
    ours: 'The session ends, as for any packet that cannot be decoded. Clients count from 0.',
    cases: {
      'protocol: an ack id that is too large': {
        reference: [
          'server /: event / message-with-ack +ack',
          'ws: 439007199254740992[1]',
        ],
        ours: [
          'server /: disconnect / forced close []',
          'ws: closed 1005',
        ],
      },
    },
  },
  {
    title: 'An event without a name is not published',
    reference: '`42` without data reaches `onAny`, without a name.',
    ours: 'It is dropped: on NATS an event without a name has no subject.',
    cases: {
      'protocol: an event without data': {
        reference: ['server /: event / without a name'],
      },
      'protocol: an event without data, with an id': {
        reference: ['server /: event / without a name'],
      },
    },
  },
  {
    title: 'A second CONNECT while a socket is being admitted',
    reference: 'It makes a second socket, which the client cannot reach.',
    ours: 'It waits, and is out of turn once the socket is admitted.',
    cases: {
      'protocol: a second CONNECT while being admitted': {
        reference: [
          'server /slow: connect /slow',
          'ws: 40/slow,{"sid":"<sid>"}',
          'ws: 42/slow,["auth",{}]',
        ],
        ours: ['server /slow: disconnect /slow forced server close []', 'ws: closed 1005'],
      },
    },
  },
  {
    title: 'A client that goes while it is being admitted',
    only: 'services',
    reference: 'It is forgotten.',
    ours: 'The service that was asked gets a disconnect notice.',
    cases: {
      'protocol: an event while being admitted': {
        ours: ['server /slow: disconnect /slow forced server close []'],
      },
      'protocol: gone while being admitted': {
        ours: ['server /slow: disconnect /slow transport close []'],
      },
    },
  },
  {
    title: 'The last poll may come after the close packet',
    reference: 'A poll that arrives after the close packet gets `Session ID unknown`.',
    ours: 'One poll within a second after it gets a noop: two connections have no order. Later ones get `Session ID unknown`.',
    cases: Object.fromEntries([
      ['polling: the close packet', 'poll'], ['polling: the packet 1x', 'poll'],
      ['upgrade: the client closes the session by polling meanwhile', 'after'],
    ].map(([name, poll]) => [name, { reference: [`${poll}: ${unknownSession}`], ours: [`${poll}: ${lastNoop}`] }])),
  },
  {
    title: 'What comes before the close packet in a payload is handled',
    reference: 'It drops earlier packets of the same POST. Only `onAny` sees them.',
    ours: 'Packets are handled in order. The last poll differs as above.',
    cases: {
      'polling: the close packet in the middle of a payload': {
        reference: [`after: ${unknownSession}`, 'server /: disconnect / transport close []'],
        ours: [`after: ${lastNoop}`, 'server /: disconnect / transport close []'],
      },
    },
  },
  {
    title: 'A middleware that throws refuses',
    only: 'services',
    reference: 'The process ends. If the error is caught elsewhere, the client gets no answer.',
    ours: '`OnError` gets the error, and the client `not admitted`.',
    cases: Object.fromEntries(['owned', 'stateless'].map((mode) => [`middleware: one throws, ${mode}`, {
      ours: ['ann: connect_error: not admitted ', 'ann engine: close forced close'],
    }])),
  },
  {
    title: 'A client that goes while the middleware decides',
    only: 'services',
    reference: 'It forgets the socket.',
    ours: 'The service has admitted it, so its connection handler runs. Then it gets the disconnect.',
    cases: {
      'middleware: the client goes meanwhile, owned': {
        ours: ['server ann: connection rooms [] data {"name":"ann"}', 'server ann: disconnect transport close rooms []'],
      },
      'middleware: the client goes meanwhile, stateless': {
        ours: ['server ann: connection rooms [] data null', 'server ann: disconnect transport close rooms []'],
      },
    },
  },
  {
    title: 'Who has gone is not waited for',
    only: 'services',
    reference: 'It waits for the ack of a socket that has gone until the time is over.',
    ours: 'The caller is notified at once: `UnknownSocket`, or one missing among several.',
    cases: Object.fromEntries(['owned', 'stateless'].map((mode) => [`ask one: it goes meanwhile, ${mode}`, {
      reference: ['calls bob: emitWithAck: timed out, answers []'],
      ours: ['calls bob: emitWithAck: gone'],
    }])),
  },
  {
    title: 'Asking many without a time',
    only: 'services',
    reference: 'Without `timeout`, clients have one millisecond.',
    ours: 'They have 30 seconds.',
    cases: Object.fromEntries(['owned', 'stateless'].map((mode) => [`ask many: without a time, ${mode}`, {
      reference: ['calls ann: emitWithAck: timed out, answers []'],
      ours: ['calls ann: emitWithAck: answers ["ann","bob"]'],
    }])),
  },
  {
    title: 'A packet that cannot be decoded is no `error` of its sockets',
    reference: 'Each socket of the client emits `error`, and ends with `forced close`.',
    ours: 'The edge decodes, so the edge logs it. The application gets the disconnect.',
    cases: Object.fromEntries(['owned', 'stateless'].map((mode) => [`reasons: the client sends what is no packet, ${mode}`, {
      reference: ['server ann: error: invalid payload'],
    }])),
  },
  {
    title: 'The id of a socket names its edge',
    only: 'node',
    reference: 'It has 20 characters.',
    ours: 'It is the name of an edge, a dot, and the name of the socket there. Do not count its characters.',
    cases: {
      'code, objects: the names of a socket, owned': {
        reference: ['calls ann: run: [true,"string",false,true,true]'],
        ours: ['calls ann: run: [false,"string",false,true,true]'],
      },
    },
  },
  {
    title: 'A client recovers without an offset',
    reference: 'A client that has received no event yet gets a new session.',
    ours: 'It recovers, and misses nothing ([Configuration](configuration.md#namespaces)). An `offset` that is no text, or empty, counts as none.',
    cases: {
      ...Object.fromEntries(['no offset', 'an empty offset', 'an offset that is no text'].map((name) => [`recovery, raw: ${name}`, {
        reference: ['second: has a new id', 'second: has a new pid', 'server /: connect /'],
        ours: ['second: 42["auth",{},"<offset>"]', 'second: has the same id', 'second: has the same pid', 'server /: connect / recovered'],
      }])),
    },
  },
  {
    title: 'A client recovers before its old connection is known to be dead',
    only: 'services',
    reference: 'It gets a new session.',
    ours: 'It gets its socket, and the old connection is closed.',
    cases: {
      'recovery, raw: a connection that is still there': {
        reference: ['second: has a new id', 'server /: connect /'],
        ours: ['first: closed 1005', 'second: has the same id', 'server /: connect / recovered'],
      },
    },
  },
  {
    title: 'A client recovers before its old connection is known to be dead, in Node.js',
    only: 'node',
    reference: 'It gets a new session.',
    ours: 'It gets its socket. The one of the old connection ends first, with `transport close`.',
    cases: {
      'recovery, raw: a connection that is still there': {
        reference: ['second: has a new id', 'server /: connect /'],
        ours: ['first: closed 1005', 'second: has the same id', 'server /: disconnect / transport close []', 'server /: connect / recovered'],
      },
    },
  },
  {
    title: 'A volatile event that ends with a text has an offset behind it',
    reference: 'Its client takes the text for an offset, and does not recover.',
    ours: 'With recovery the edge appends the current offset, so the client recovers.',
    cases: Object.fromEntries(['owned', 'stateless'].map((mode) => [`recovery: a volatile event that ends with a text, ${mode}`, {
      reference: [
        'ann: ["perhaps","a text"]', 'ann: connect', 'bob: ["perhaps","a text"]', 'ids: she has a new id',
        'server ann: connection rooms [] data {"name":"ann"}',
      ],
      ours: [
        'ann: ["perhaps","a text","<offset>"]', 'ann: ["surely",1,"<offset>"]', 'ann: connect, recovered',
        'bob: ["perhaps","a text","<offset>"]', 'ids: she has her id', 'server ann: connection, recovered, rooms [] data {"name":"ann"}',
      ],
    }])),
  },
  {
    title: 'What opens a session is kept from services',
    reference: '`socket.handshake.auth` has the `pid` and `offset` that the client added.',
    ours: 'The edge removes them in a namespace with recovery: whoever has the `pid` can take the session.',
    cases: {
      'recovery, raw: the handshake of a client that came back': {
        reference: ['ann: the auth has offset,pid,token'],
        ours: ['ann: the auth has token'],
      },
    },
  },
];
