// A stage runs one case on one server: its raw HTTP requests, raw WebSockets and official clients, and the transcript
// of what they and the server's application saw.

import http from 'node:http';
import net from 'node:net';
import zlib from 'node:zlib';
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';
import { Transcript } from './transcript.mjs';

const patience = 5_000; // milliseconds until a wait has failed
const engine = { EIO: '4' };

// comparedHeaders are those of a reply that matter to a client or a cache. The framing of a body (length or chunks),
// Date and the connection's headers are left to the HTTP server.
const comparedHeaders = [
  'content-type', 'content-encoding', 'cache-control', 'set-cookie', 'vary', 'x-xss-protection', 'allow', 'location',
  'access-control-allow-origin', 'access-control-allow-credentials', 'access-control-allow-methods',
  'access-control-allow-headers', 'access-control-expose-headers', 'access-control-max-age', 'sec-websocket-extensions',
  'sec-websocket-protocol',
];

export class Stage {
  #base;
  #tag;
  #transcript;
  #parser; // of official clients
  #open = new Set(); // what ends with the case

  timed = false; // whether the case depends on timing, which a busy machine can spoil

  constructor(base, tag, { parser, recovery }) {
    this.#base = base;
    this.#parser = parser;
    this.#transcript = new Transcript(Boolean(recovery));
    this.#tag = tag;
  }

  get transcript() { return this.#transcript; }

  // tag is in the query of everything that belongs to this case.
  get tag() { return this.#tag; }

  note(actor, line) { this.#transcript.note(actor, line); }

  // until waits for a line of an actor that contains the text, or matches the expression.
  until(actor, fits) { return this.#transcript.until(actor, fits, patience); }

  // sleep waits. It is for what must not happen, and for times that the protocol sets.
  sleep(milliseconds) {
    this.timed = true;
    return new Promise((resolve) => { setTimeout(resolve, milliseconds); });
  }

  // took records which of the expected durations is nearest to the time since start.
  took(actor, what, start, ...expected) {
    this.timed = true;
    const elapsed = Date.now() - start;
    const nearest = expected.reduce((best, one) => (Math.abs(one - elapsed) < Math.abs(best - elapsed) ? one : best));
    this.note(actor, `${what} after about ${nearest} ms`);
  }

  // settle waits until nothing has happened for some time.
  settle(quiet) { return this.#transcript.settle(quiet); }

  // close ends the case.
  close() {
    this.#transcript.close();
    this.#open.forEach((end) => end());
  }

  // target returns the path and query for a query given as an object; undefined omits a parameter.
  target(query, path = '/socket.io/') {
    const all = Object.entries({ ...engine, ...query, case: this.#tag }).filter(([, value]) => value !== undefined);
    return `${path}?${new URLSearchParams(all)}`;
  }

  // request sends one HTTP request and records the reply: status, compared headers, body. Parts of a body are sent with a
  // pause between them; a body that ends in null is never finished. With packets set, a good reply is recorded packet by
  // packet, because their distribution over replies depends on timing; with quiet set, it is not recorded.
  request(actor, method, query, { headers = {}, body, path, signal, packets, quiet } = {}) {
    const target = typeof query === 'string' ? query : this.target(query, path);
    return new Promise((resolve) => {
      const request = http.request(this.#base + target, { method, headers, agent: false, signal });
      this.#open.add(() => request.destroy());
      request.on('error', () => {
        this.note(actor, 'no reply, the connection is cut');
        resolve({ status: 0, body: '' });
      });
      request.on('response', (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('error', () => {
          this.note(actor, `${response.statusCode}, then the connection is cut`);
          resolve({ status: response.statusCode, body: '' });
        });
        response.on('end', () => {
          const raw = decoded(Buffer.concat(chunks), response.headers['content-encoding']);
          if (quiet) {
            // the case checks it itself
          } else if (packets && response.statusCode === 200) {
            raw.toString().split('\x1e').forEach((packet) => this.note(actor, shown(packet)));
          } else {
            this.note(actor, [response.statusCode, shownHeaders(response.headers), shown(raw.toString())].filter(Boolean).join(' '));
          }
          resolve({ status: response.statusCode, body: raw.toString(), headers: response.headers });
        });
      });
      if (Array.isArray(body)) {
        this.#sendSlowly(request, body);
      } else {
        request.end(body);
      }
    });
  }

  async #sendSlowly(request, parts) {
    for (const part of parts) {
      if (part === null) {
        return;
      }
      request.write(part);
      await this.sleep(100);
    }
    request.end();
  }

  // open begins a polling session.
  async open({ actor = 'handshake', query = {}, headers } = {}) {
    const reply = await this.request(actor, 'GET', { transport: 'polling', ...query }, { headers });
    const { sid } = JSON.parse(reply.body.slice(1));
    const mine = { transport: 'polling', sid };
    return {
      sid,
      fetch: async (last, who = 'packets') => {
        for (let got = ''; !got.includes(last);) {
          const { status, body } = await this.request(who, 'GET', mine, { packets: true });
          if (status !== 200) {
            throw new Error(`${who} did not get ${last} in time`);
          }
          got = body;
        }
      },
      poll: (who = 'poll', options) => this.request(who, 'GET', mine, options),
      post: (body, who = 'post', options) => this.request(who, 'POST', mine, { headers: { 'Content-Type': 'text/plain;charset=UTF-8' }, body, ...options }),
    };
  }

  // connected begins a polling session that is in a namespace, with all greetings fetched.
  async connected(namespace = '/') {
    const session = await this.open();
    await session.post(namespace === '/' ? '40' : `40${namespace},`);
    await session.fetch('["auth"', 'greeting');
    return session;
  }

  // websocket opens a raw WebSocket and records all that happens to it.
  websocket(actor, query = {}, options = {}) {
    const socket = new WebSocket(this.#base.replace('http', 'ws') + this.target({ transport: 'websocket', ...query }, options.path), options.protocols ?? [], options);
    this.#open.add(() => socket.terminate());
    socket.on('upgrade', (response) => this.note(actor, ['opened', shownHeaders(response.headers)].filter(Boolean).join(' ')));
    socket.on('unexpected-response', (request, response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        this.note(actor, `refused ${response.statusCode} ${shownHeaders(response.headers)} ${Buffer.concat(chunks)}, closed`);
        socket.removeAllListeners();
        socket.on('error', () => {});
      });
    });
    socket.on('message', (data, binary) => this.note(actor, binary ? `<${data.toString('hex')}>` : shown(data.toString())));
    socket.on('close', (code, reason) => this.note(actor, `closed ${code} ${reason}`.trim()));
    socket.on('error', (error) => this.note(actor, `error ${error.code ?? error.message}`));
    return socket;
  }

  // engine opens a WebSocket session and waits for its handshake.
  async engine(actor = 'ws', query, options) {
    const socket = this.websocket(actor, query, options);
    await this.until(actor, '0{');
    return socket;
  }

  // joined returns a WebSocket session that is in a namespace, with all greetings received.
  async joined(actor = 'ws', namespace = '/', options = {}) {
    const socket = await this.engine(actor, {}, options);
    socket.send(namespace === '/' ? '40' : `40${namespace},`);
    await this.until(actor, '["auth"');
    return socket;
  }

  // upgrading returns a WebSocket for a polling session, opened and probed.
  async upgrading(session, actor = 'ws') {
    const socket = this.websocket(actor, { sid: session.sid });
    await this.until(actor, 'opened');
    socket.send('2probe');
    await this.until(actor, '3probe');
    return socket;
  }

  // client starts an official client in a namespace. What its connection does is recorded for `<actor> engine`.
  client(actor, namespace = '/', options = {}) {
    const socket = io(this.#base + namespace, {
      forceNew: true, reconnection: false, transports: ['websocket'], parser: this.#parser, ...options, query: { case: this.#tag, ...options.query }, autoConnect: false,
    });
    this.follow(actor, socket);
    const manager = socket.io;
    const watch = () => {
      manager.engine.on('upgrade', (transport) => this.note(`${actor} engine`, `upgrade ${transport.name}`));
      manager.engine.on('upgradeError', (error) => this.note(`${actor} engine`, `upgrade error ${error.message}`));
    };
    manager.on('open', () => {
      this.note(`${actor} engine`, `open ${manager.engine.transport.name}`);
      watch();
    });
    manager.on('close', (reason, description) => this.note(`${actor} engine`, `close ${reason}${described(description)}`));
    manager.on('error', (error) => this.note(`${actor} engine`, `error ${error.message}`));
    manager.on('reconnect', () => this.note(`${actor} engine`, 'reconnect'));
    this.#open.add(() => manager._close());
    if (options.autoConnect !== false) {
      socket.connect();
    }
    return socket;
  }

  // follow records the events of an official client's socket.
  follow(actor, socket) {
    socket.on('connect', () => this.note(actor, socket.recovered ? 'connect, recovered' : 'connect'));
    socket.on('disconnect', (reason, description) => this.note(actor, `disconnect: ${reason}${described(description)}`));
    socket.on('connect_error', (error) => this.note(actor, `connect_error: ${error.message} ${JSON.stringify(error.data) ?? ''}${described(error)}`));
    socket.onAny((...values) => {
      const withAck = typeof values.at(-1) === 'function' ? values.pop() : undefined;
      this.note(actor, shown(JSON.stringify(values)) + (withAck ? ' +ack' : ''));
    });
    return socket;
  }

  // tcp sends raw bytes and records the response until the connection ends.
  tcp(actor, text) {
    const { hostname, port } = new URL(this.#base);
    const socket = net.connect(Number(port), hostname);
    this.#open.add(() => socket.destroy());
    let got = '';
    socket.on('data', (data) => { got += data.toString('latin1'); });
    socket.on('error', () => {});
    socket.on('close', () => {
      const [head, ...rest] = got.split('\r\n\r\n');
      this.note(actor, `${head.split('\r\n')[0].replace(/^HTTP\/1\.\d /, '') || 'nothing'} ${rest.join(' ')}`.trim());
      this.note(actor, 'closed');
    });
    socket.write(text, 'latin1');
    return socket;
  }
}

function decoded(body, encoding) {
  if (encoding === 'gzip') {
    return zlib.gunzipSync(body);
  }
  return encoding === 'deflate' ? zlib.inflateSync(body) : body;
}

// shownHeaders returns the compared headers, in a fixed order.
function shownHeaders(headers) {
  return comparedHeaders.filter((name) => headers[name] !== undefined).map((name) => {
    let value = [headers[name]].flat().join(' | ');
    if (name === 'vary') {
      value = value.split(/, */).sort().join(', ');
    }
    return `{${name}: ${value}}`;
  }).join(' ');
}

// shown makes a payload readable: the separator is visible, long runs are short.
function shown(text) {
  return text.trimEnd().replaceAll('\x1e', ' ⏎ ').replace(/(x{40,})/g, (run) => `<${run.length} times x>`);
}

// described returns what the official client has about an error or an end, without its name.
function described(it) {
  const parts = [];
  if (it?.description !== undefined && typeof it.description !== 'object') {
    parts.push(it.description);
  }
  if (it?.description?.message) {
    parts.push(it.description.message.replace(/ \d+\.\d+\.\d+\.\d+:\d+/, ''));
  }
  if (it?.context?.code !== undefined) {
    parts.push(it.context.code);
  }
  if (it?.context?.status !== undefined) {
    parts.push(`status ${it.context.status}`);
  }
  return parts.length ? ` (${parts.join(', ')})` : '';
}
