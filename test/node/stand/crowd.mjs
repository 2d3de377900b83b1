// Official clients, as they come, that chat in rooms, and a record of every message by its number: who said it and
// when, whether the chat acked it, and who read it how often.

import { io } from 'socket.io-client';
import { pauseFor } from './docker.mjs';

const patience = 5000; // milliseconds for an ack, as a user might have
const perRoom = 5;
const run = `run ${Date.now()}`; // what another run said is told again to who enters a room

class Member {
  heard = new Set(); // ids of messages
  drops = []; // {at, reason, connected: again, back: in the room again, recovered}
  faults = []; // other errors that the client saw
  doubled = 0;
  reordered = 0;
  #joined = ''; // id of the socket that is in the room
  #here = new Set(); // as heard, by this socket: to a new one the room's last messages come once more
  #latest = new Map(); // number of the last message, by author

  constructor(url, n) {
    this.name = `guest ${n}`;
    this.room = `room ${Math.floor(n / perRoom)}`;
    this.present = false; // in its room
    this.socket = io(`${url}/chat_room`, { forceNew: true, auth: { name: this.name, key: `key of ${n}` } });
    this.socket.on('connect', () => this.#enter());
    this.socket.on('disconnect', (reason) => {
      this.present = false;
      this.drops.push({ at: Date.now(), reason, connected: null, back: null, recovered: false });
    });
    this.socket.on('connect_error', (error) => {
      this.faults.push({ at: Date.now(), what: error.message });
      if (!this.socket.active) { // the chat refused, and the client leaves it to its user to try again
        this.faults.push({ at: Date.now(), what: 'refused' });
        setTimeout(() => this.socket.connect(), 1000);
      }
    });
    this.socket.on('message', ({ text }) => this.#hear(text));
    // Each connection has an engine of its own.
    this.socket.io.on('open', () => {
      this.socket.io.engine.on('upgradeError', (error) => this.faults.push({ at: Date.now(), what: `upgrade: ${error.message}` }));
    });
  }

  async #enter() {
    const { id, recovered } = this.socket;
    const last = this.drops.at(-1);
    if (last) {
      last.connected ??= Date.now();
      last.recovered = recovered;
    }
    if (this.#joined === id) { // it has recovered
      this.#isBack(last);
      return;
    }
    if (!recovered) {
      this.#here.clear();
      this.#latest.clear();
    }
    while (this.socket.id === id) {
      const answer = await this.ask('join', this.room);
      if (this.socket.id === id && !answer.error) {
        this.#joined = id;
        this.#isBack(last);
        return;
      }
      await pauseFor(200);
    }
  }

  #isBack(drop) {
    this.present = true;
    if (drop) { drop.back ??= Date.now(); }
  }

  #hear(text) {
    if (!text.endsWith(run)) { return; }
    this.heard.add(text);
    if (this.#here.has(text)) { this.doubled++; }
    this.#here.add(text);
    const [author, number] = text.split('#');
    if (Number(number) < (this.#latest.get(author) ?? 0)) { this.reordered++; }
    this.#latest.set(author, Number(number));
  }

  async ask(event, ...values) {
    try {
      return await this.socket.timeout(patience).emitWithAck(event, ...values);
    } catch (error) {
      return { error: error.message };
    }
  }

  get upgraded() { return this.socket.io.engine.transport.name === 'websocket'; }

  // edge is the id of the edge that has this client's session.
  get edge() { return this.socket.io.engine.id.split('.')[0]; }
}

export class Crowd {
  said = []; // {id, room, at, settled, acked}
  #talking = [];

  constructor(url, size) {
    this.members = Array.from({ length: size }, (_, n) => new Member(url, n));
    this.rooms = grouped(this.members);
  }

  get absent() { return this.members.filter((m) => !m.present); }

  // talk has clients in each room send messages, one after the other.
  talk(every) {
    let next = 0;
    this.#talking = [...this.rooms].map(([room, members]) => setInterval(() => {
      const author = members[next++ % members.length];
      if (author.present) { this.#say(room, author); }
    }, every));
  }

  async #say(room, author) {
    author.count = (author.count ?? 0) + 1;
    const line = { id: `${author.name}#${author.count}#${run}`, room, at: Date.now(), settled: null, acked: false };
    this.said.push(line);
    const answer = await author.ask('message', room, line.id);
    line.acked = !answer.error;
    line.error = answer.error;
    line.settled = Date.now();
  }

  // quiet ends the talk and waits until all messages have arrived.
  async quiet() {
    this.#talking.forEach(clearInterval);
    const end = Date.now() + patience + 1000;
    while (this.said.some((line) => !line.settled) && Date.now() < end) { await pauseFor(50); }
    await pauseFor(500);
  }

  // tally returns what clients saw since a time, with each message counted once for each reader.
  tally(since) {
    const said = this.said.filter((line) => line.at >= since);
    const sum = { disconnected: 0, recovered: 0, away: 0, outside: 0, reasons: new Set(), faults: 0, refused: 0, said: said.length, unacked: 0, lost: 0, doubled: 0, reordered: 0, silence: 0 };
    for (const m of this.members) {
      const drops = m.drops.filter((drop) => drop.at >= since);
      sum.disconnected += drops.length > 0;
      sum.recovered += drops.length > 0 && drops.every((drop) => drop.recovered);
      for (const drop of drops) {
        sum.away = Math.max(sum.away, (drop.connected ?? Infinity) - drop.at);
        sum.outside = Math.max(sum.outside, (drop.back ?? Infinity) - drop.at);
        sum.reasons.add(drop.reason);
      }
      const faults = m.faults.filter((fault) => fault.at >= since);
      sum.faults += faults.filter((fault) => fault.what !== 'refused').length;
      sum.refused += faults.filter((fault) => fault.what === 'refused').length;
      sum.doubled += m.doubled;
      sum.reordered += m.reordered;
      m.doubled = m.reordered = 0;
      sum.lost += said.filter((line) => line.room === m.room && line.acked && !m.heard.has(line.id)).length;
    }
    const unacked = said.filter((line) => !line.acked);
    sum.unacked = unacked.length;
    sum.errors = new Set(unacked.map((line) => line.error));
    sum.silence = Math.max(...[...this.rooms.keys()].map((room) => longestWait(said.filter((l) => l.room === room && l.acked), since)));
    return sum;
  }

  end() { this.members.forEach((m) => m.socket.disconnect()); }
}

// longestWait is the longest time without an ack.
function longestWait(acked, since) {
  let longest = 0;
  let last = since;
  for (const at of acked.map((line) => line.settled).sort((a, b) => a - b)) {
    longest = Math.max(longest, at - last);
    last = at;
  }
  return longest;
}

function grouped(members) {
  const rooms = new Map();
  members.forEach((m) => rooms.set(m.room, [...rooms.get(m.room) ?? [], m]));
  return rooms;
}
