// Prints the differences as docs/differences.md shows them.

import { applications, cases, plays } from './cases.mjs';
import { differences } from './differences.mjs';

const scripted = cases.filter((one) => one.serverSide);
const differing = (application, among) => among.filter((one) => one.differs?.[application]).length;
const who = { services: 'Services', node: 'Node.js', pair: 'Node.js, two servers' };

console.log(`${cases.length} cases, ${scripted.length} of them of the server's interface.\n`);
console.log("| Application | Cases | Agree | Differ | Of the server's interface | Agree | Differ |\n|---|---:|---:|---:|---:|---:|---:|");
for (const [application, name] of Object.entries(applications)) {
  const counts = [cases, scripted].flatMap((all) => {
    const among = all.filter((one) => plays(application, one));
    const differ = differing(application, among);
    return [among.length, among.length - differ, differ];
  });
  console.log(`| ${name[0].toUpperCase()}${name.slice(1)} | ${counts.join(' | ')} |`);
}
console.log(`\nThere are ${differences.length} reasons. *Services* or *Node.js*: only this application differs.\n`);
console.log('| | Socket.IO | Partyline | Who | Cases |\n|---|---|---|---|---:|');
for (const { title, only, reference, ours, cases: declared } of differences) {
  console.log(`| **${title}** | ${reference} | ${ours} | ${only ? who[only] : 'All'} | ${Object.keys(declared).length} |`);
}
