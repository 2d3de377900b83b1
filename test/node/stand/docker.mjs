// What a test does to the containers of compose.yaml. They are found by compose's labels, which all versions set
// alike.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
export const project = process.env.COMPOSE_PROJECT_NAME;

export async function docker(...args) {
  const { stdout } = await run('docker', args, { maxBuffer: 16 << 20 });
  return stdout.trim();
}

export async function container(service) {
  const label = (key, value) => ['--filter', `label=com.docker.compose.${key}=${value}`];
  const id = await docker('ps', '-aq', ...label('project', project), ...label('service', service));
  if (!/^[0-9a-f]+$/.test(id)) {
    throw new Error(`no container, or several, for ${service}: ${id}`);
  }
  return id;
}

const to = (command, ...options) => async (service) => docker(command, ...options, await container(service));

export const kill = to('kill', '--signal', 'KILL');
export const stop = to('stop', '--time', '30'); // SIGTERM; the process ends by itself long before
export const start = to('start');
export const restart = to('restart', '--time', '30');
// pause tries again: with version 1 of cgroups, the engine now and then cannot freeze a container that its CPU limit holds up.
export const pause = (service) => until(`${service} to pause`, () => to('pause')(service).then(() => true, () => false), 5000);
export const unpause = to('unpause');

export async function healthy(service) {
  await until(`${service} to be healthy`, async () =>
    await docker('inspect', '--format', '{{.State.Health.Status}}', await container(service)) === 'healthy');
}

// get reads a page inside the network, with the wget of a NATS server's image: edges have no shell, and publish
// nothing. It is null if there is no good answer.
export async function get(url, from = 'nats-1') {
  try {
    return (await run('docker', ['exec', await container(from), 'wget', '-q', '-O', '-', '--header', `Authorization: Bearer ${process.env.ADMIN_TOKEN}`, url], { timeout: 5000 })).stdout;
  } catch {
    return null;
  }
}

export async function until(what, look, limit = 60_000) {
  for (const end = Date.now() + limit; ;) {
    if (await look()) {
      return;
    }
    if (Date.now() > end) {
      throw new Error(`${what}: not within ${limit / 1000} s.`);
    }
    await pauseFor(100);
  }
}

export const pauseFor = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
