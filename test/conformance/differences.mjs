// Where ours differs from the reference, why, and in exactly which lines. A case that differs otherwise is wrong, and so is
// one that is listed here and agrees. docs/conformance.md shows these; `node list.mjs` prints what belongs there.

const unknownSession = '400 {content-type: application/json} {"code":1,"message":"Session ID unknown"}';
const lastNoop = '200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} 6';

export const differences = [
  {
    title: 'Pages of other origins are refused',
    reason: 'A page whose origin is neither our own nor listed in `cors.origins` gets code 4, `Forbidden`, on both transports and for a preflight. The reference answers it, and leaves it to the browser to keep the page from reading; a browser does not do that for WebSockets. See [decision 1](decisions/0001-origins.md).',
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
    reason: 'A second CONNECT, a CONNECT_ERROR, or a packet for a namespace that was not joined ends the session on both. In the reference the word that the application reads hangs on a detail: `forced close` where the transport can be closed at that moment (WebSocket, or a poll that waits), `forced server close` elsewhere. Ours says the second, which is what it is. Clients see the same.',
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
    reason: 'With an `EIO` other than 4, or with `transport=polling`, the reference accepts the WebSocket first. Then it closes it, or writes an HTTP reply into it, which a WebSocket client reads as a broken frame. Ours answers the request with the same error in words, as the reference does for all other errors.',
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
    reason: 'Requests and frames that break RFC 6455 get the same statuses and close codes. The words differ, since other libraries choose them, and ours gives a reason with a close code of 1002. A close frame with half a code counts as one without a code. No client sends these.',
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
    reason: 'Ours answers at `/socket.io` as well, so that a client with `addTrailingSlash: false` needs no setting at the server, and not at `/socket.io/anything`, where the reference only compares the beginning. Another path is told 404 at once, where the reference lets a WebSocket wait for a second and hangs up.',
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
    reason: 'The parameter `j` is ignored. It was for browsers without CORS; the client of protocol 4 never sends it.',
    cases: {
      'handshake: JSONP': {
        reference: ['http: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} ___eio[0]("0{\\"sid\\":\\"<sid>\\",\\"upgrades\\":[\\"websocket\\"],\\"pingInterval\\":25000,\\"pingTimeout\\":20000,\\"maxPayload\\":20000}");'],
        ours: ['http: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} 0{"sid":"<sid>","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20000}'],
      },
    },
  },
  {
    title: 'Replies are compressed with gzip only',
    reason: 'A client that accepts `deflate` and not `gzip` gets its reply uncompressed. There is no such browser.',
    cases: {
      'gzip: Accept-Encoding: deflate': {
        reference: ['poll: 200 {content-type: text/plain; charset=UTF-8} {content-encoding: deflate} {cache-control: no-store} 42["sized","<2000 times x>"]'],
        ours: ['poll: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} 42["sized","<2000 times x>"]'],
      },
    },
  },
  {
    title: 'No header for Internet Explorer',
    reason: 'The reference sends `X-XSS-Protection: 0` to Internet Explorer, whose filter is gone.',
    cases: {
      'headers: for an old browser': {
        reference: ['handshake: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} {x-xss-protection: 0} 0{"sid":"<sid>","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20000}'],
        ours: ['handshake: 200 {content-type: text/plain; charset=UTF-8} {cache-control: no-store} 0{"sid":"<sid>","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20000}'],
      },
    },
  },
  {
    title: 'A ping under way survives an upgrade',
    reason: 'If a client upgrades while it owes a pong, the reference stops its heartbeat for good: it forgets the time-out and never pings again, until the client gives up. Ours pings over the WebSocket after the usual interval.',
    cases: {
      'heartbeat: a ping over polling that was not answered before the upgrade': {
        ours: ['ws: 2'],
      },
    },
  },
  {
    title: 'A session that began with WebSocket cannot be upgraded',
    reason: 'The reference lets a second WebSocket take over. The protocol has upgrades from polling only, and no client does it.',
    cases: {
      'upgrade: of a session that began with WebSocket': {
        reference: ['second: 3probe'],
        ours: ['second: closed 1005'],
      },
    },
  },
  {
    title: 'A blank is not a digit',
    reason: 'The reference reads a blank as the number 0: as the packet type CONNECT, or as an ack id that the client did not send. To ours a blank is no packet type, and before JSON it is white space.',
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
    reason: 'The reference rounds a larger one and acks an id that the client did not send. Ours ends the session, as for any packet that cannot be decoded. Clients count from 0.',
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
    reason: '`42` without data is a valid packet, and no handler of an application can be for it. The reference shows it to `onAny`, without a name; on NATS an event without a name has no subject.',
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
    title: 'While a socket is being admitted',
    reason: 'In ours a service has been asked about it, so it hears of its end if the client goes meanwhile, and can let go of what it keeps for it. A second CONNECT is out of turn from the first on; the reference would make two sockets of one client in one namespace, of which the client can only reach one.',
    cases: {
      'protocol: an event while being admitted': {
        ours: ['server /slow: disconnect /slow forced server close []'],
      },
      'protocol: gone while being admitted': {
        ours: ['server /slow: disconnect /slow transport close []'],
      },
      'protocol: a second CONNECT while being admitted': {
        reference: [
          'server /slow: connect /slow',
          'server /slow: connect /slow',
          'ws: 40/slow,{"sid":"<sid>"}',
          'ws: 42/slow,["auth",{}]',
          'ws: 40/slow,{"sid":"<sid>"}',
          'ws: 42/slow,["auth",{}]',
        ],
        ours: ['server /slow: disconnect /slow forced server close []', 'ws: closed 1005'],
      },
    },
  },
  {
    title: 'The last poll may come after the close packet',
    reason: 'A client may send the POST that closes its session and its last poll together. The reference reads them in the order in which they arrive, and answers the poll with a noop if it is first. Two connections have no order, so ours answers one poll with a noop if it comes within a second after the close packet. Later polls, and all others, get `Session ID unknown` on both.',
    cases: Object.fromEntries([
      ['polling: the close packet', 'poll'], ['polling: the packet 1x', 'poll'],
      ['upgrade: the client closes the session by polling meanwhile', 'after'],
    ].map(([name, poll]) => [name, { reference: [`${poll}: ${unknownSession}`], ours: [`${poll}: ${lastNoop}`] }])),
  },
  {
    title: 'What comes before the close packet in a payload is handled',
    reason: 'The reference ends the session first, and drops what came before in the same POST as the work of a closed socket (its `onAny` still sees it). Ours keeps the order of the packets. The last poll differs, too, as above.',
    cases: {
      'polling: the close packet in the middle of a payload': {
        reference: [`after: ${unknownSession}`, 'server /: disconnect / transport close []'],
        ours: [`after: ${lastNoop}`, 'server /: disconnect / transport close []'],
      },
    },
  },
  {
    title: 'A middleware that throws refuses',
    reason: 'An error that a middleware throws ends a process of the reference; if it is caught elsewhere, nobody answers the client. Ours is told to `OnError`, and the client hears `not admitted`.',
    cases: Object.fromEntries(['owned', 'stateless'].map((mode) => [`middleware: one throws, ${mode}`, {
      ours: ['ann: connect_error: not admitted ', 'ann engine: close forced close'],
    }])),
  },
  {
    title: 'A client that goes while the middleware decides',
    reason: 'The reference asks its own connection and forgets the socket. A service here has said yes before it can know; its connection handler runs, and an owner is then told with `OnHandover` that the socket is `not yours`. A stateless service of a pattern hears its end.',
    cases: {
      'middleware: the client goes meanwhile, owned': {
        ours: ['server ann: connection rooms [] data {"name":"ann"}', 'server ann: handover not yours'],
      },
      'middleware: the client goes meanwhile, stateless': {
        ours: ['server ann: connection rooms [] data null', 'server ann: disconnect transport close rooms []'],
      },
    },
  },
  {
    title: 'Who has gone is not waited for',
    reason: 'When a socket goes that owes an ack, the reference waits for it until the time is over. Ours says at once that it has gone: `UnknownSocket` for one that was asked by its id, and one that is missing among several.',
    cases: Object.fromEntries(['owned', 'stateless'].map((mode) => [`ask one: it goes meanwhile, ${mode}`, {
      reference: ['calls bob: emitWithAck: timed out, answers []'],
      ours: ['calls bob: emitWithAck: gone'],
    }])),
  },
  {
    title: 'Asking many without a time',
    reason: 'Without `timeout`, the reference gives clients one millisecond for the ack of a broadcast. Ours gives them 30 seconds.',
    cases: Object.fromEntries(['owned', 'stateless'].map((mode) => [`ask many: without a time, ${mode}`, {
      reference: ['calls ann: emitWithAck: timed out, answers []'],
      ours: ['calls ann: emitWithAck: answers ["ann","bob"]'],
    }])),
  },
  {
    title: 'A packet that cannot be decoded is no `error` of its sockets',
    reason: 'The reference emits `error` on each socket of a client that sends what is no packet, and then ends them with `forced close`. Here the edge decodes, so it is the edge that logs it; services hear of the end.',
    cases: Object.fromEntries(['owned', 'stateless'].map((mode) => [`reasons: the client sends what is no packet, ${mode}`, {
      reference: ['server ann: error: invalid payload'],
    }])),
  },
];
