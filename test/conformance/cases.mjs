// All cases, each with its declared difference. Reading them needs no packages.

import { client } from './cases/client.mjs';
import { handshake } from './cases/handshake.mjs';
import { heartbeat } from './cases/heartbeat.mjs';
import { messages } from './cases/messages.mjs';
import { pages } from './cases/pages.mjs';
import { protocol } from './cases/protocol.mjs';
import { serverAcks } from './cases/server-acks.mjs';
import { serverConnect } from './cases/server-connect.mjs';
import { serverEmits } from './cases/server-emits.mjs';
import { serverHandlers } from './cases/server-handlers.mjs';
import { serverPair } from './cases/server-pair.mjs';
import { serverSockets } from './cases/server-sockets.mjs';
import { upgrade } from './cases/upgrade.mjs';
import { differences } from './differences.mjs';

export const cases = [
  ...handshake, ...messages, ...heartbeat, ...upgrade, ...pages, ...protocol, ...client,
  ...serverConnect, ...serverEmits, ...serverAcks, ...serverSockets, ...serverHandlers, ...serverPair,
];

const byName = new Map(cases.map((one) => [one.name, one]));
if (byName.size !== cases.length) {
  throw new Error(`two cases have the same name: ${cases.find((one) => byName.get(one.name) !== one).name}`);
}
for (const { title, cases: declared } of differences) {
  for (const [name, { reference = [], ours = [] }] of Object.entries(declared)) {
    if (!byName.has(name)) {
      throw new Error(`a difference is declared for a case that does not exist: ${name}`);
    }
    byName.get(name).differs = { title, reference, ours };
  }
}
