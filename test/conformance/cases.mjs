// All cases, each with its declared difference. Reading them needs no packages.

import { client } from './cases/client.mjs';
import { handshake } from './cases/handshake.mjs';
import { heartbeat } from './cases/heartbeat.mjs';
import { messages } from './cases/messages.mjs';
import { pages } from './cases/pages.mjs';
import { protocol } from './cases/protocol.mjs';
import { recovery } from './cases/recovery.mjs';
import { serverAcks } from './cases/server-acks.mjs';
import { serverCode } from './cases/server-code.mjs';
import { serverConnect } from './cases/server-connect.mjs';
import { serverConnections } from './cases/server-connections.mjs';
import { serverEmits } from './cases/server-emits.mjs';
import { serverHandlers } from './cases/server-handlers.mjs';
import { serverPair } from './cases/server-pair.mjs';
import { serverSockets } from './cases/server-sockets.mjs';
import { upgrade } from './cases/upgrade.mjs';
import { differences } from './differences.mjs';

export const cases = [
  ...handshake, ...messages, ...heartbeat, ...upgrade, ...pages, ...protocol, ...client,
  ...serverConnect, ...serverEmits, ...serverAcks, ...serverSockets, ...serverHandlers, ...serverPair, ...serverCode, ...serverConnections,
  ...recovery,
];

const byName = new Map(cases.map((one) => [one.name, one]));
if (byName.size !== cases.length) {
  throw new Error(`two cases have the same name: ${cases.find((one) => byName.get(one.name) !== one).name}`);
}

// applications are those that are compared with the reference, and how the output names them.
export const applications = {
  services: 'services on NATS', node: 'the package for Node.js', pair: 'two servers of the package for Node.js',
};

// plays reports whether an application plays a case.
export const plays = (application, { applications: some = ['services', 'node'] }) => some.includes(application);

for (const { title, only, cases: declared } of differences) {
  for (const [name, { reference = [], ours = [] }] of Object.entries(declared)) {
    if (!byName.has(name)) {
      throw new Error(`a difference is declared for a case that does not exist: ${name}`);
    }
    const one = byName.get(name);
    for (const application of (only ? [only] : Object.keys(applications)).filter((each) => plays(each, one))) {
      if (one.differs?.[application]) {
        throw new Error(`two differences of ${application} are declared for ${name}`);
      }
      one.differs = { ...one.differs, [application]: { title, reference, ours } };
    }
  }
}
