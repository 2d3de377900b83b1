// Starts the programs that take part in a comparison, and ends them.

import { fork, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { flags, namespaces, servers } from './servers.mjs';

const env = { ...process.env, GORACE: 'halt_on_error=1 atexit_sleep_ms=0' };
const patience = 15_000; // milliseconds that a program may take to end

export const complaints = []; // of our programs
const ending = []; // functions that end programs, in the order in which they end
const children = []; // processes, which are ended in any case
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

// endPrograms ends all programs: applications before their servers, and these before the service on plain NATS, which
// gets their last notices.
export async function endPrograms() {
  for (const end of ending) {
    await end();
  }
}

// ends returns a function that ends a program of ours, in the way that ask does, and complains about its exit code.
function ends(child, name, ask) {
  return () => new Promise((done) => {
    child.on('exit', (code, signal) => {
      if (code !== 0) {
        complaints.push(`${name} ended with ${signal ?? code}`);
      }
      done();
    });
    ask();
    setTimeout(() => child.kill('SIGKILL'), patience).unref();
  });
}

// firstMessage returns the first message of a script of this folder. Later ones are what its application saw.
function firstMessage(child, name, hear) {
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`${name} ended with ${code}`)));
    child.on('message', (message) => (message.line === undefined ? resolve(message) : hear(message)));
  });
}

// startScript runs an application that is a script of this folder and returns its first message.
export function startScript(script, hear, ...args) {
  const child = fork(new URL(script, import.meta.url), args);
  ending.push(() => child.connected && child.disconnect());
  return firstMessage(child, script, hear);
}

// startNode runs the application on our package for Node.js. Its servers must outlive it.
export function startNode(hear, addresses) {
  const child = fork(new URL('node.mjs', import.meta.url), addresses, { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] });
  children.push(child);
  createInterface(child.stderr).on('line', (line) => {
    if (!line.includes('does not keep up')) { // a busy machine, which is late and loses nothing
      complaints.push(`the package for Node.js: ${line}`);
    }
  });
  ending.unshift(ends(child, 'the package for Node.js', () => child.connected && child.send('end')));
  return firstMessage(child, 'node.mjs', hear);
}

// startServer runs our program with one of the settings and returns its addresses.
export function startServer(program, name) {
  const child = spawn(program, [
    '--listen=127.0.0.1:0', '--admin.listen=127.0.0.1:0', '--embedded.listen=127.0.0.1:0', '--page=false',
    ...flags(servers[name]),
  ], { env: { ...env, PARTYLINE_NAMESPACES: JSON.stringify(namespaces(servers[name])) } });
  children.push(child);
  ending.push(ends(child, name, () => child.kill('SIGTERM')));
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
    child.on('exit', (code) => reject(new Error(`${name} ended with ${code}`)));
  });
}

// startScripted runs the Go service. Its servers must outlive it.
export function startScripted(program, hear, addresses) {
  const child = spawn(program, addresses, { env });
  children.push(child);
  createInterface(child.stderr).on('line', (line) => complaints.push(`the Go service: ${line}`));
  ending.unshift(ends(child, 'the Go service', () => child.stdin.end()));
  return new Promise((resolve, reject) => {
    createInterface(child.stdout).on('line', (text) => {
      const message = JSON.parse(text);
      message.ready ? resolve() : hear(message);
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => reject(new Error(`the Go service ended with ${signal ?? code}`)));
  });
}
