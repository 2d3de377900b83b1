// Runs every case on the reference and on our applications, and compares the transcripts. Usage, after
// `npm ci --ignore-scripts` here and `make node`:
//
//   node run.mjs PATH-OF-EMBEDDED PATH-OF-SCRIPTED [PART-OF-A-NAME [APPLICATION]]
//
// With a part of a name it runs those cases only, and prints all transcripts. APPLICATION is services, node or pair. The
// variable PARTYLINE_PACKAGE is where the package for Node.js is, if it is not built in node/dist. The exit status is 0
// if each case agrees or differs exactly as it declares.

import { applications, cases, plays } from './cases.mjs';
import { complaints, endPrograms, startNode, startScript, startScripted, startServer } from './programs.mjs';
import { servers } from './servers.mjs';
import { Stage } from './stage.mjs';
import { compare } from './transcript.mjs';

const atOnce = 12; // cases that run at the same time
const lateness = 3000; // milliseconds that a busy machine may be late
const quick = new Set(['quick', 'hasty', 'mortal']); // servers whose cases depend on timing
const [program, scripted, wanted, only] = process.argv.slice(2);
const compared = Object.keys(applications).filter((name) => !only || name === only);
const stages = new Map(); // by the tag that the application sends

// hear records what an application saw.
function hear({ tag, actor, line }) {
  stages.get(tag)?.note(actor ?? 'server', line);
}

let tags = 0;

// play runs a case on one side and returns its stage, still open. If a wait failed, it is the last line.
async function play(one, base) {
  const tag = `case${++tags}`;
  const stage = new Stage(base, tag, servers[one.server]);
  stages.set(tag, stage);
  try {
    await one.play(stage);
  } catch (error) {
    stage.note('~ the case', error.message);
    stage.failed = error;
  } finally {
    await stage.settle(one.quiet ?? 150);
    stage.end = () => { stage.close(); stages.delete(tag); };
  }
  return stage;
}

const isRight = ({ word }) => ['agrees', 'declared'].includes(word);

// judgeAgain runs a failed case again, alone, if it depends on timing: what takes half a second on an idle machine
// may take longer on a busy one. Other cases are not repeated.
async function judgeAgain(verdict, urls) {
  let again = verdict;
  for (let i = 0; i < 2 && !isRight(again) && dependsOnTiming(again); i++) {
    [again] = await judge(again.one, urls, [again.application]);
    again.text ||= 'only when played again';
  }
  return again;
}

const dependsOnTiming = ({ one, reference, ours }) => quick.has(one.server) || reference.timed || ours.timed;

// judge plays a case once on the reference and on each application. It returns the result for each of these: agrees,
// declared, DIFFERS, STALE or BROKEN.
async function judge(one, urls, among) {
  const [reference, ...others] = await Promise.all(['reference', ...among].map((side) => play(one, urls[side][one.server])));
  const pairs = others.map((ours, i) => ({ one, application: among[i], reference, ours }));
  // Services see events through another process: on a busy machine, after the case has ended.
  const isOpen = (pair) => !dependsOnTiming(pair) && !differsAsDeclared(pair, compare(reference.transcript, pair.ours.transcript));
  for (const end = Date.now() + lateness; pairs.some(isOpen) && Date.now() < end;) {
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
  [reference, ...others].forEach((stage) => stage.end());
  return pairs.map(verdictOf);
}

function verdictOf(pair) {
  const { one, application, reference, ours } = pair;
  const difference = compare(reference.transcript, ours.transcript);
  const verdict = { ...pair, difference };
  const same = difference.reference.length + difference.ours.length === 0;
  if (reference.failed) {
    return { ...verdict, word: 'BROKEN', text: `the reference itself does not do what the case waits for: ${reference.failed.stack}` };
  }
  if (one.differs?.[application] === undefined) {
    return { ...verdict, word: same ? 'agrees' : 'DIFFERS' };
  }
  if (same) {
    return { ...verdict, word: 'STALE', text: 'it declares a difference, but agrees' };
  }
  const asDeclared = differsAsDeclared(pair, difference);
  return { ...verdict, word: asDeclared ? 'declared' : 'DIFFERS', text: asDeclared ? '' : 'not in the way that it declares' };
}

const differsAsDeclared = ({ one, application }, { reference, ours }) => {
  const declared = one.differs?.[application];
  return JSON.stringify([declared?.reference ?? [], declared?.ours ?? []]) === JSON.stringify([reference, ours]);
};

function report({ one, application, word, text, difference, reference, ours }) {
  const title = word === 'declared' ? ` (${one.differs[application].title})` : '';
  console.log(`${word}: ${application}: ${one.name}${title}${text ? `: ${text}` : ''}`);
  if (word === 'DIFFERS' || wanted) {
    difference.reference.forEach((line) => console.log(`    - ${line}`));
    difference.ours.forEach((line) => console.log(`    + ${line}`));
  }
  if (wanted) {
    for (const [name, stage] of Object.entries({ reference, ours })) {
      console.log(`  ${name}`);
      stage.transcript.actors().forEach((actor) => stage.transcript.lines(actor).forEach((line) => console.log(`    ${actor}: ${line}`)));
    }
  }
}

// start starts the reference and our applications, each with servers of its own, and returns the URLs of their servers.
async function start() {
  const sides = { reference: startScript('reference.mjs', hear).then(({ urls }) => urls) };
  if (compared.includes('services')) {
    sides.services = startServers((addresses, twice) =>
      Promise.all([startScript('service.mjs', hear, ...addresses), startScripted(scripted, hear, twice)]));
  }
  if (compared.some((name) => name !== 'services')) {
    sides.node = startServers((_, twice) => startNode(hear, twice));
    sides.pair = sides.node.then(({ pair }) => ({ calm: pair }));
  }
  return Object.fromEntries(await Promise.all(Object.entries(sides).map(async ([name, urls]) => [name, await urls])));
}

// startServers starts a server of each name and the application on them. It returns the servers' URLs. The application
// gets their NATS addresses, and these with that of the pair twice.
async function startServers(startApplication) {
  const names = Object.keys(servers);
  const started = await Promise.all(names.map((name) => startServer(program, name)));
  const addresses = started.map((one) => one.nats);
  await startApplication(addresses, [...addresses, addresses[names.indexOf('pair')]]);
  return Object.fromEntries(names.map((name, i) => [name, `http://${started[i].address}`]));
}

// summary returns the line about one application.
function summary(application, verdicts) {
  const count = (word, among = verdicts) => among.filter((verdict) => verdict.word === word).length;
  const serverSide = verdicts.filter(({ one }) => one.serverSide);
  return [`CONFORMANCE: ${count('agrees')} of ${verdicts.length} cases agree with the reference`,
    `${count('declared')} differ as docs/differences.md says`, `${verdicts.filter((one) => !isRight(one)).length} are wrong`,
    `of the server's interface: ${count('agrees', serverSide)} of ${serverSide.length}, ${count('declared', serverSide)} differ`,
    `with ${applications[application]}`].join(', ');
}

async function main() {
  const chosen = cases.filter((one) => one.name.includes(wanted ?? ''));
  const urls = await start();
  const verdicts = [];
  const waiting = [...chosen];
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let one = waiting.shift(); one; one = waiting.shift()) {
      verdicts.push(...await judge(one, urls, compared.filter((application) => plays(application, one))));
    }
  }));
  for (const [i, verdict] of verdicts.entries()) {
    verdicts[i] = await judgeAgain(verdict, urls);
  }
  await endPrograms();

  verdicts.sort((a, b) => chosen.indexOf(a.one) - chosen.indexOf(b.one));
  verdicts.filter(({ word, text }) => word !== 'agrees' || text || wanted).forEach(report);
  complaints.forEach((line) => console.log(`COMPLAINT: ${line}`));
  compared.forEach((application) => console.log(summary(application, verdicts.filter((one) => one.application === application))));
  return verdicts.every(isRight) && complaints.length === 0;
}

try {
  process.exitCode = await main() ? 0 : 1;
} catch (error) {
  console.error(error);
  process.exit(1);
}
