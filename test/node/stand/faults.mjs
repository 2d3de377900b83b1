// The stand of compose.yaml under a small crowd, while its parts fail one after the other. Messages are counted by
// their numbers; what must hold is asserted, and what was seen is printed. run.sh starts the stand and this.

import assert from 'node:assert/strict';
import { Crowd } from './crowd.mjs';
import { get, healthy, kill, pause, pauseFor, restart, start, stop, unpause, until } from './docker.mjs';

const url = process.env.PARTYLINE_URL;
const size = 60;
const edges = ['edge-1', 'edge-2', 'edge-3'];
const servers = ['nats-1', 'nats-2', 'nats-3'];
const began = Date.now();

// --- The page and the crowd ----------------------------------------------------------------------------------------

for (const [path, text] of [['/', '<title>Chat'], ['/socket.io/socket.io.js', 'Socket.IO']]) {
  const response = await fetch(url + path);
  assert.equal(response.status, 200, path);
  assert.ok((await response.text()).includes(text), `${path} is not what it should be`);
}
await until('all edges to be ready', allReady);

const crowd = new Crowd(url, size);
await until('everyone to be in', () => crowd.absent.length === 0);
await until('everyone to have a WebSocket', () => crowd.members.every((m) => m.upgraded));
console.log(`${size} clients are in after ${Date.now() - began} ms; sessions by edge: ${[...await sessions()].map(([edge, n]) => `${edge} ${n}`).join(', ')}`);

// --- Faults --------------------------------------------------------------------------------------------------------

// Each fault: what is done, and what must hold. In any case every client must be back, and no message may come twice
// or out of order.
const stays = { disconnected: 0 };
const complete = { lost: 0 };
const faults = [
  ['nothing', async () => { await pauseFor(5000); }, { ...stays, ...complete, unacked: 0, faults: 0 }],
  ['a NATS server killed, back after 5 s', async () => {
    const victim = await busiestServer();
    await kill(victim);
    await pauseFor(5000);
    await start(victim);
    await healthy(victim);
  }, stays],
  ['an edge stopped (SIGTERM)', async () => {
    const victim = await busiestEdge();
    await stop(victim);
    await everyoneBack();
    await start(victim);
  }, complete],
  ['an edge killed (SIGKILL)', async () => {
    const victim = await busiestEdge();
    await kill(victim);
    await everyoneBack();
    await start(victim);
  }, complete],
  ['both chat instances restarted, one by one', async () => {
    for (const instance of ['chat-1', 'chat-2']) {
      await restart(instance);
      await healthy(instance);
    }
  }, { ...stays, ...complete, unacked: 0 }],
  ['a chat instance killed', async () => {
    await kill('chat-1');
    await pauseFor(5000);
    await start('chat-1');
    await healthy('chat-1');
  }, { ...stays, ...complete }],
  ['an edge paused for 2 s', async () => {
    const victim = await busiestEdge();
    await pause(victim);
    await pauseFor(2000);
    await unpause(victim);
  }, { ...stays, ...complete }],
  ['an edge paused for 8 s', async () => {
    const victim = await busiestEdge();
    await pause(victim);
    await pauseFor(8000);
    await unpause(victim);
  }, complete],
  ['the balancer restarted', async () => { await restart('balancer'); }, complete],
];

const rows = [];
const problems = [];
for (const [name, act, must] of faults) {
  const since = Date.now();
  crowd.talk(500);
  await pauseFor(2000);
  await act();
  await until(`everyone to be back after: ${name}`, () => crowd.absent.length === 0).catch((error) => problems.push(error.message));
  await pauseFor(2000);
  await crowd.quiet();
  const saw = crowd.tally(since);
  rows.push([name, saw]);
  console.log(`tried: ${name}`);
  for (const [what, want] of Object.entries({ doubled: 0, reordered: 0, refused: 0, ...must })) {
    if (saw[what] !== want) { problems.push(`${name}: ${what} is ${saw[what]}, want ${want}`); }
  }
  await until('all edges to be ready', allReady);
}
crowd.end();
print(rows);
console.log(`${Math.round((Date.now() - began) / 1000)} s in all`);
problems.forEach((problem) => console.log(`FAILED: ${problem}`));
process.exit(problems.length > 0 ? 1 : 0);

// --- Helpers -------------------------------------------------------------------------------------------------------

async function allReady() {
  const answers = await Promise.all(edges.map((edge) => get(`http://${edge}:3001/readyz`)));
  return answers.every((answer) => answer !== null);
}

async function everyoneBack() {
  await pauseFor(500);
  await until('everyone to be back', () => crowd.absent.length === 0);
}

// sessions counts the clients of each edge.
async function sessions() {
  const counts = new Map();
  for (const edge of edges) {
    const { edge: id } = JSON.parse(await get(`http://${edge}:3001/edges`)).find((e) => e.this);
    counts.set(edge, crowd.members.filter((m) => m.edge === id).length);
  }
  return counts;
}

async function busiestEdge() {
  return [...await sessions()].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
}

// busiestServer is the NATS server with the most connections of edges and chat instances.
async function busiestServer() {
  let most = ['', -1];
  for (const server of servers) {
    const { num_connections: n } = JSON.parse(await get('http://127.0.0.1:8222/connz', server));
    if (n > most[1]) { most = [server, n]; }
  }
  return most[0];
}

function print(all) {
  const seconds = (ms) => (ms === 0 ? '-' : `${(ms / 1000).toFixed(1)} s`);
  const columns = {
    'what fails': (s, name) => name,
    'disconnected': (s) => `${s.disconnected} ${[...s.reasons].join(', ')}`,
    'recovered': (s) => s.recovered,
    'connected again': (s) => seconds(s.away),
    'in the room again': (s) => seconds(s.outside),
    'said': (s) => s.said,
    'no ack': (s) => [s.unacked, ...s.errors].join(' '),
    'longest without ack': (s) => seconds(s.silence),
    'lost': (s) => s.lost,
    'doubled': (s) => s.doubled,
    'reordered': (s) => s.reordered,
  };
  const table = [Object.keys(columns), ...all.map(([name, s]) => Object.values(columns).map((cell) => String(cell(s, name))))];
  const widths = table[0].map((_, i) => Math.max(...table.map((row) => row[i].length)));
  console.log();
  table.forEach((row) => console.log(row.map((cell, i) => cell.padEnd(widths[i])).join(' | ')));
}
