// Runs every case on the reference and on ours and compares the transcripts. Usage, after `npm ci --ignore-scripts`:
//
//   node run.mjs PATH-OF-EMBEDDED PATH-OF-SCRIPTED [PART-OF-A-NAME]   with a part of a name: those cases only, with both
//                                                                     transcripts
//
// The exit status is 0 if each case agrees or differs exactly as it declares.

import { fork, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { cases } from './cases.mjs';
import { flags, servers } from './servers.mjs';
import { Stage } from './stage.mjs';
import { compare } from './transcript.mjs';

const atOnce = 12; // cases that run at the same time
const lateness = 3000; // milliseconds that a busy machine may be late
const quick = new Set(['quick', 'hasty']); // servers whose cases depend on timing
const [program, scripted, wanted] = process.argv.slice(2);
const stages = new Map(); // by the tag that the application sends
const ending = []; // functions that end the processes
const complaints = []; // of our servers
const children = []; // processes, which are ended in any case
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

// hear records what an application saw.
function hear({ tag, actor, line }) {
  stages.get(tag)?.note(actor ?? 'server', line);
}

// startFork runs a script of this folder and returns its first message. Later ones are what an application saw.
function startFork(script, ...args) {
  const child = fork(new URL(script, import.meta.url), args);
  ending.push(() => child.connected && child.disconnect());
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`${script} ended with ${code}`)));
    child.on('message', (message) => {
      if (message.line !== undefined) {
        hear(message);
      } else {
        resolve(message);
      }
    });
  });
}

// startOurs runs our program with one of the settings and returns its addresses.
function startOurs(name) {
  const child = spawn(program, [
    '--config=namespaces.yaml', '--listen=127.0.0.1:0', '--admin.listen=127.0.0.1:0', '--embedded.listen=127.0.0.1:0', '--page=false',
    ...flags(servers[name]),
  ], { cwd: import.meta.dirname, env: { ...process.env, GORACE: 'halt_on_error=1 atexit_sleep_ms=0' } });
  children.push(child);
  return new Promise((resolve, reject) => {
    const log = (line) => {
      if (line.includes('"listening"')) {
        resolve(JSON.parse(line));
      } else if (/DATA RACE|panic|"level":"ERROR"|http: /.test(line)) {
        complaints.push(`${name}: ${line}`);
      }
    };
    createInterface(child.stdout).on('line', log);
    createInterface(child.stderr).on('line', log);
    child.on('error', reject);
    ending.push(() => new Promise((done) => {
      child.on('exit', (code, signal) => {
        if (code !== 0) {
          complaints.push(`${name} ended with ${signal ?? code}`);
        }
        done();
      });
      child.kill('SIGTERM');
      setTimeout(() => child.kill('SIGKILL'), 15_000).unref();
    }));
    child.on('exit', (code) => reject(new Error(`${name} ended with ${code}`)));
  });
}

// startScripted runs the Go service. Its edges must outlive it.
function startScripted(addresses) {
  const child = spawn(scripted, addresses, { env: { ...process.env, GORACE: 'halt_on_error=1 atexit_sleep_ms=0' } });
  children.push(child);
  createInterface(child.stderr).on('line', (line) => complaints.push(`the Go service: ${line}`));
  return new Promise((resolve, reject) => {
    createInterface(child.stdout).on('line', (text) => {
      const message = JSON.parse(text);
      message.ready ? resolve() : hear(message);
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => reject(new Error(`the Go service ended with ${signal ?? code}`)));
    ending.unshift(() => new Promise((done) => {
      child.on('exit', (code, signal) => {
        if (code !== 0) {
          complaints.push(`the Go service ended with ${signal ?? code}`);
        }
        done();
      });
      child.stdin.end();
      setTimeout(() => child.kill('SIGKILL'), 15_000).unref();
    }));
  });
}

let tags = 0;

// play runs a case on one side and returns its stage, still open. If a wait failed, it is the last line.
async function play(one, base) {
  const tag = `case${++tags}`;
  const stage = new Stage(base, tag);
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

// judgeAgain runs a failed case again, alone, if it depends on timing: what takes half a second on an idle machine
// may take longer on a busy one. Other cases are not repeated.
async function judgeAgain(verdict, urls) {
  let again = verdict;
  for (let i = 0; i < 2 && !['agrees', 'declared'].includes(again.word) && hangsOnMoments(again); i++) {
    again = await judge(again.one, urls);
    again.text ||= 'only when played again';
  }
  return again;
}

const hangsOnMoments = ({ one, reference, ours }) => quick.has(one.server) || reference.timed || ours.timed;

// judge returns the result of a case: agrees, declared, DIFFERS, STALE or BROKEN.
async function judge(one, urls) {
  const [reference, ours] = await Promise.all([play(one, urls.reference[one.server]), play(one, urls.ours[one.server])]);
  // The service sees events through another process: on a busy machine, after the case has ended.
  for (const end = Date.now() + lateness; !hangsOnMoments({ one, reference, ours }) && !asExpected(one, reference, ours) && Date.now() < end;) {
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
  reference.end();
  ours.end();
  const difference = compare(reference.transcript, ours.transcript);
  const verdict = { one, reference, ours, difference };
  const same = difference.reference.length + difference.ours.length === 0;
  if (reference.failed) {
    return { ...verdict, word: 'BROKEN', text: `the reference itself does not do what the case waits for: ${reference.failed.stack}` };
  }
  if (one.differs === undefined) {
    return { ...verdict, word: same ? 'agrees' : 'DIFFERS' };
  }
  if (same) {
    return { ...verdict, word: 'STALE', text: 'it declares a difference, but agrees' };
  }
  const asDeclared = differsAsDeclared(one, difference);
  return { ...verdict, word: asDeclared ? 'declared' : 'DIFFERS', text: asDeclared ? '' : 'not in the way that it declares' };
}

const differsAsDeclared = ({ differs }, { reference, ours }) =>
  JSON.stringify([differs?.reference ?? [], differs?.ours ?? []]) === JSON.stringify([reference, ours]);

const asExpected = (one, reference, ours) => differsAsDeclared(one, compare(reference.transcript, ours.transcript));

function report({ one, word, text, difference, reference, ours }) {
  console.log(`${word}: ${one.name}${word === 'declared' ? ` (${one.differs.title})` : ''}${text ? `: ${text}` : ''}`);
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

async function main() {
  const chosen = cases.filter((one) => one.name.includes(wanted ?? ''));
  const names = Object.keys(servers);
  const [reference, ...started] = await Promise.all([startFork('reference.mjs'), ...names.map(startOurs)]);
  const addresses = started.map((one) => one.nats);
  const second = addresses[names.indexOf('pair')];
  await Promise.all([startFork('service.mjs', ...addresses), startScripted([...addresses, second])]);
  const urls = {
    reference: reference.urls,
    ours: Object.fromEntries(names.map((name, i) => [name, `http://${started[i].address}`])),
  };

  const verdicts = [];
  const waiting = [...chosen];
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let one = waiting.shift(); one; one = waiting.shift()) {
      verdicts.push(await judge(one, urls));
    }
  }));
  for (const [i, verdict] of verdicts.entries()) {
    verdicts[i] = await judgeAgain(verdict, urls);
  }
  for (const end of ending) { // our servers before the service on plain NATS, which gets their last notices
    await end();
  }

  verdicts.sort((a, b) => chosen.indexOf(a.one) - chosen.indexOf(b.one));
  verdicts.filter(({ word, text }) => word !== 'agrees' || text || wanted).forEach(report);
  complaints.forEach((line) => console.log(`COMPLAINT: ${line}`));
  const count = (word, among = verdicts) => among.filter((verdict) => verdict.word === word).length;
  const scriptedOnes = verdicts.filter(({ one }) => one.serverSide);
  const right = count('agrees') + count('declared');
  console.log([`CONFORMANCE: ${count('agrees')} of ${verdicts.length} cases agree with the reference`,
    `${count('declared')} differ as docs/differences.md says`, `${verdicts.length - right} are wrong`,
    `of the server's interface: ${count('agrees', scriptedOnes)} of ${scriptedOnes.length}, ${count('declared', scriptedOnes)} differ`].join(', '));
  return right === verdicts.length && complaints.length === 0;
}

try {
  process.exitCode = await main() ? 0 : 1;
} catch (error) {
  console.error(error);
  ending.forEach((end) => end());
  process.exitCode = 1;
}
