// A scene is one test: its Socket.IO clients, its NATS connections, and their conversation, which is printed when the
// test fails. Each wait is for an event, with a deadline; nothing sleeps.
//
// The server under test is running. Its addresses are in the environment:
//   PARTYLINE_URL      for clients
//   PARTYLINE_NATS     for NATS clients
//   PARTYLINE_CONTROL  for control

import test from 'node:test';
import assert from 'node:assert/strict';
import { connect as connectNATS, headers } from '@nats-io/transport-node';
import { io, Manager } from 'socket.io-client';

export { assert, headers, Manager };
export { chromium } from 'playwright-core';

export const base = environment('PARTYLINE_URL');
const natsURL = environment('PARTYLINE_NATS');

const patience = 30_000; // milliseconds until a wait has failed; machines may be slow
const lifeEvents = ['connect', 'disconnect', 'connect_error'];

function environment(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set; these scripts are started by the Go tests in test/official.`);
  }
  return value;
}

// control asks the test that started the server: stop (SIGTERM, and wait), kill (SIGKILL), start (same ports), pause
// (SIGSTOP) or resume (SIGCONT). It returns when that is done.
export async function control(action) {
  const response = await fetch(`${environment('PARTYLINE_CONTROL')}/${action}`, { method: 'POST' });
  assert.equal(response.status, 200, `${action}: ${await response.text()}`);
}

// until polls for something that no event announces, and returns it once it is true.
export async function until(what, look, limit = patience) {
  for (const end = Date.now() + limit; ;) {
    const found = await look();
    if (found) {
      return found;
    }
    if (Date.now() > end) {
      throw new Error(`${what}: not within ${limit} ms.`);
    }
    await new Promise((resolve) => { setTimeout(resolve, 5); });
  }
}

// within fails a promise that takes too long.
export function within(what, promise, limit = patience) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${limit} ms.`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// scene declares a test and gives it a Scene.
export function scene(name, play, { timeout = 120_000 } = {}) {
  test(name, { timeout }, async () => {
    const stage = new Scene();
    try {
      await play(stage);
    } catch (error) {
      console.log(`--- the conversation in “${name}”:\n${stage.conversation()}\n---`);
      throw error;
    } finally {
      await stage.end();
    }
  });
}

// Inbox keeps items in order until they are taken.
class Inbox {
  #items = [];
  #waiting = [];

  put(item) {
    this.#items.push(item);
    this.#waiting.splice(0).forEach((wake) => wake());
  }

  // take waits for the first item that fits, removes and returns it.
  async take(what, fits = () => true) {
    const end = Date.now() + patience;
    for (;;) {
      const at = this.#items.findIndex(fits);
      if (at >= 0) {
        return this.#items.splice(at, 1)[0];
      }
      await within(what, new Promise((resolve) => { this.#waiting.push(resolve); }), Math.max(1, end - Date.now()));
    }
  }

  // rest returns the items that were not taken.
  rest(fits = () => true) {
    return this.#items.filter(fits);
  }
}

export class Scene {
  #began = Date.now();
  #lines = [];
  #clients = [];
  #connections = [];
  #inboxes = new Map(); // by client

  note(who, what) {
    this.#lines.push(`${String(Date.now() - this.#began).padStart(6)} ms  ${who.padEnd(9)} ${what}`);
  }

  conversation() {
    return this.#lines.length > 300 ? [...this.#lines.slice(0, 100), '…', ...this.#lines.slice(-200)].join('\n') : this.#lines.join('\n');
  }

  async end() {
    this.#clients.forEach((client) => client.io._close());
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }

  // --- Clients -------------------------------------------------------------------------------------------------------

  // client starts a socket on a connection of its own, over WebSocket unless the options say otherwise. who is its name
  // in the conversation.
  client(who, namespace = '/', options = {}) {
    const socket = io(base + namespace, { forceNew: true, transports: ['websocket'], reconnectionDelay: 50, reconnectionDelayMax: 200, ...options, autoConnect: false });
    this.watch(who, socket);
    if (options.autoConnect !== false) {
      socket.connect();
      this.#watchEngine(who, socket.io);
    }
    return socket;
  }

  // manager starts a connection without sockets.
  manager(who, options = {}) {
    const manager = new Manager(base, { transports: ['websocket'], reconnectionDelay: 50, reconnectionDelayMax: 200, ...options });
    this.#watchEngine(who, manager);
    return manager;
  }

  // watch records what a socket receives and sends.
  watch(who, socket) {
    this.#clients.push(socket);
    const inbox = new Inbox();
    this.#inboxes.set(socket, inbox);
    for (const event of lifeEvents) {
      socket.on(event, (...values) => {
        this.note(who, `· ${event} ${values[0]?.message ?? (typeof values[0] === 'string' ? values[0] : '')}`);
        inbox.put([event, ...values]);
      });
    }
    socket.onAny((...values) => inbox.put(values));
    return socket;
  }

  // watchEngine records the packets of a connection, and of those that replace it.
  #watchEngine(who, manager) {
    const follow = () => {
      const { engine } = manager;
      engine.on('packetCreate', (packet) => this.note(who, `→ ${shown(packet)}`));
      engine.on('packet', (packet) => this.note(who, `← ${shown(packet)}`));
      engine.on('upgrade', (transport) => this.note(who, `· upgraded to ${transport.name}`));
    };
    follow();
    manager.on('reconnect_attempt', () => queueMicrotask(follow));
  }

  // hear waits for the next event of that name at a socket and returns its values; connect, disconnect and connect_error
  // count as events.
  async hear(socket, event, fits = () => true) {
    const [, ...values] = await this.#inboxes.get(socket).take(`the event ${event}`, ([name, ...rest]) => name === event && fits(...rest));
    return values;
  }

  // unheard returns the events at a socket that were not taken, without connect, disconnect and connect_error.
  unheard(socket) {
    return this.#inboxes.get(socket).rest(([event]) => !lifeEvents.includes(event));
  }

  // connected starts a client and waits until it is in.
  async connected(who, namespace, options) {
    const socket = this.client(who, namespace, options);
    await this.hear(socket, 'connect');
    return socket;
  }

  // --- NATS ----------------------------------------------------------------------------------------------------------

  async nats() {
    const connection = await connectNATS({ servers: natsURL, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
    this.#connections.push(connection);
    return connection;
  }

  // service subscribes and answers with what handle returns, or not at all if that is undefined. It returns
  // an inbox of the messages, once the subscription is active.
  async service(connection, subject, handle = () => undefined, options = {}) {
    const inbox = new Inbox();
    connection.subscribe(subject, {
      ...options,
      callback: (error, message) => {
        if (error) {
          throw error;
        }
        this.note('nats', `← ${message.subject}${message.reply ? ` (${message.reply})` : ''} ${message.string().slice(0, 300)}`);
        const answer = handle(message);
        if (answer !== undefined) {
          this.note('nats', `→ ${message.reply} ${answer}`);
          message.respond(answer);
        }
        inbox.put(message);
      },
    });
    await connection.flush();
    return inbox;
  }

  publish(connection, subject, body, options) {
    this.note('nats', `→ ${subject} ${body.slice(0, 300)}`);
    connection.publish(subject, body, options);
  }

  async request(connection, subject, body, options = {}) {
    this.note('nats', `→ ${subject} ${body}`);
    const answer = await connection.request(subject, body, { timeout: patience, ...options });
    this.note('nats', `← answer ${answer.string()}`);
    return answer;
  }
}

// shown returns an Engine.IO packet as it looks on a WebSocket.
function shown({ type, data }) {
  const number = { open: 0, close: 1, ping: 2, pong: 3, message: 4, upgrade: 5, noop: 6 }[type] ?? type;
  return typeof data === 'string' || data === undefined ? `${number}${(data ?? '').slice(0, 300)}` : `<${data.byteLength} bytes>`;
}

// withHeaders makes NATS headers of an object, whose values may be lists.
export function withHeaders(values) {
  const made = headers();
  for (const [name, value] of Object.entries(values)) {
    [value].flat().forEach((one) => made.append(name, one));
  }
  return made;
}

// attached returns a body with binary attachments, and its headers.
export function attached(text, ...attachments) {
  const parts = [Buffer.from(text), ...attachments];
  return { body: Buffer.concat(parts), headers: withHeaders({ 'Sio-Attachments': attachments.map((part) => part.length).join(',') }) };
}
