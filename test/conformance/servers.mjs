// The servers on which cases run. Each exists twice, with the same settings: as the npm reference and as ours.
// Times are in milliseconds, sizes in bytes.

import parser from 'socket.io-msgpack-parser';

const calm = {
  pingInterval: 25_000, pingTimeout: 20_000, upgradeTimeout: 10_000, connectTimeout: 45_000, maxPayload: 20_000,
  transports: ['polling', 'websocket'], origins: [], credentials: false, cookie: '',
};

const recoverable = 120_000;

export const servers = {
  calm,
  standard: { ...calm, maxPayload: 1_000_000 }, // the defaults of a server
  quick: { ...calm, pingInterval: 500, pingTimeout: 500 }, // heartbeats within the time of a case
  hasty: { ...calm, upgradeTimeout: 500, connectTimeout: 500 },
  pages: { ...calm, origins: ['http://app.example', 'http://other.example'], credentials: true, cookie: 'io' },
  anyone: { ...calm, origins: ['*'] },
  polling: { ...calm, transports: ['polling'] },
  websocket: { ...calm, transports: ['websocket'] },
  pair: calm, // two servers of the reference, or two instances of the Go service
  recovery: { ...calm, recovery: { skipMiddlewares: true } },
  asking: { ...calm, recovery: { skipMiddlewares: false } }, // clients that come back are admitted again
  packed: { ...calm, recovery: { skipMiddlewares: true }, parser }, // our servers need no setting for it
  mortal: { ...calm, pingInterval: 500, pingTimeout: 500, recovery: { skipMiddlewares: true } },
};

// referenceOptions returns the settings as options of the npm server.
export function referenceOptions(s) {
  return {
    pingInterval: s.pingInterval, pingTimeout: s.pingTimeout, upgradeTimeout: s.upgradeTimeout,
    connectTimeout: s.connectTimeout, maxHttpBufferSize: s.maxPayload, transports: s.transports,
    parser: s.parser,
    connectionStateRecovery: s.recovery && { maxDisconnectionDuration: recoverable, ...s.recovery },
    cookie: s.cookie ? { name: s.cookie } : false, serveClient: false,
    cors: s.origins.length ? { origin: s.origins[0] === '*' ? '*' : s.origins, credentials: s.credentials } : undefined,
  };
}

// namespaces returns those of the applications (application.mjs and service.mjs, scripted.mjs and scripted/), with the
// recovery of the settings.
export function namespaces(s) {
  const all = ['/', '/custom', '/refused', '/slow', '/dynamic-*', '/owned', '/owned-*', '/stateless', '/stateless-*'];
  const recovery = s.recovery && { for: `${recoverable}ms`, skip_admission: s.recovery.skipMiddlewares };
  return Object.fromEntries(all.map((name) => [name, { connect: 'service', ...recovery && { recovery } }]));
}

// flags returns the settings as flags of our programs.
export function flags(s) {
  return [
    `--engine.ping_interval=${s.pingInterval}ms`, `--engine.ping_timeout=${s.pingTimeout}ms`,
    `--engine.upgrade_timeout=${s.upgradeTimeout}ms`, `--engine.max_payload=${s.maxPayload}`,
    `--engine.transports=${s.transports}`, `--connect_timeout=${s.connectTimeout}ms`,
    `--cors.origins=${s.origins}`, `--cors.credentials=${s.credentials}`, `--cookie.name=${s.cookie}`,
  ];
}
