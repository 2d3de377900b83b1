// Prints the differences as docs/differences.md shows them.

import { cases } from './cases.mjs';
import { differences } from './differences.mjs';

const differing = cases.filter((one) => one.differs).length;
const scripted = cases.filter((one) => one.serverSide).length;
console.log(`${cases.length} cases, ${scripted} of them of the server's interface: ${cases.length - differing} agree, ${differing} differ, for ${differences.length} reasons.\n`);
console.log('| | Socket.IO | Partyline | Cases |\n|---|---|---|---:|');
for (const { title, reference, ours, cases: declared } of differences) {
  console.log(`| **${title}** | ${reference} | ${ours} | ${Object.keys(declared).length} |`);
}
