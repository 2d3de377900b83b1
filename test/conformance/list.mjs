// Prints the differences as docs/conformance.md shows them.

import { cases } from './cases.mjs';
import { differences } from './differences.mjs';

const differing = cases.filter((one) => one.differs).length;
const scripted = cases.filter((one) => one.serverSide).length;
console.log(`${cases.length} cases, ${scripted} of them of the server's interface: ${cases.length - differing} agree, ${differing} differ, for`);
console.log(`${differences.length} reasons.`);
for (const { title, reason, cases: declared } of differences) {
  console.log(`\n### ${title}\n\n${wrapped(reason)}\n`);
  Object.keys(declared).forEach((name) => console.log(`- \`${name}\``));
}

// wrapped breaks a paragraph into lines of at most 118 characters.
function wrapped(text) {
  const lines = [''];
  for (const word of text.split(' ')) {
    if (lines.at(-1).length + 1 + word.length > 118) {
      lines.push(word);
    } else {
      lines[lines.length - 1] += (lines.at(-1) ? ' ' : '') + word;
    }
  }
  return lines.join('\n');
}
