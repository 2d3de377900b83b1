/** `partyline dev`: an edge with NATS inside, and a program beside it. They end together. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { constants as system } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { createInterface } from "node:readline";

/** Where the edge listens, as its log says. */
interface Listening {
  address: string;
  nats: string;
}

const say = (text: string) => process.stderr.write(`partyline dev: ${text}\n`);

const isProgram = (path: string) => {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
};

/** findEmbedded returns the path of bin/embedded. It throws, with what to do, if there is none. */
export function findEmbedded(environment: NodeJS.ProcessEnv = process.env): string {
  const given = environment.PARTYLINE_EMBEDDED;
  if (given && isProgram(given)) {
    return resolve(given);
  }
  const name = process.platform === "win32" ? "embedded.exe" : "embedded";
  const places = ["bin", ...(environment.PATH ?? "").split(delimiter).filter(Boolean)].map((folder) =>
    resolve(folder, name),
  );
  const found = given ? undefined : places.find(isProgram);
  if (!found) {
    throw new Error(
      (given
        ? `$PARTYLINE_EMBEDDED is ${given}, which is no program.`
        : `there is no edge: neither $PARTYLINE_EMBEDDED, nor ${join("bin", name)} here, nor "${name}" in PATH.`) +
        `
Run \`make build\` in a clone of Partyline, and set PARTYLINE_EMBEDDED to the path of its bin/embedded.
If an edge and NATS run already, you need no \`partyline dev\`: run your program with NATS_URL and PARTYLINE_EDGE set,
such as NATS_URL=nats://127.0.0.1:4222 PARTYLINE_EDGE=http://127.0.0.1:3000.`,
    );
  }
  return found;
}

/**
 * edgeEnvironment returns the environment of the edge. A configuration of the user's counts; without one all
 * namespaces are served, and the proxy is trusted to say where clients are. Beside a program the edge takes no port
 * that the program may want, and NATS the usual one if it is free.
 */
async function edgeEnvironment(isBeside: boolean): Promise<NodeJS.ProcessEnv> {
  const { PARTYLINE_EDGE: _edge, PARTYLINE_EMBEDDED: _embedded, ...environment } = process.env;
  const defaults: NodeJS.ProcessEnv = existsSync("partyline.yaml")
    ? {}
    : {
        PARTYLINE_NAMESPACES: JSON.stringify({ "/*": { connect: "service" } }),
        PARTYLINE_TRUSTED_PROXIES: "127.0.0.1,::1",
        PARTYLINE_PAGE: "false",
      };
  if (isBeside) {
    Object.assign(defaults, {
      PARTYLINE_LISTEN: "127.0.0.1:0",
      PARTYLINE_ADMIN_LISTEN: "127.0.0.1:0",
      PARTYLINE_EMBEDDED_LISTEN: (await isFree(4222)) ? "127.0.0.1:4222" : "127.0.0.1:0",
    });
  }
  return { ...defaults, ...environment };
}

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer().once("error", () => done(false));
    server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
  });
}

/** follow prints what the edge has to say to people, and is resolved once it listens, or has ended. */
function follow(edge: ChildProcess): Promise<Listening | undefined> {
  return new Promise((done) => {
    const line = (text: string) => {
      let entry: any;
      try {
        entry = JSON.parse(text);
      } catch {
        process.stderr.write(`${text}\n`); // faults of its configuration
        return;
      }
      if (entry.msg === "listening") {
        done(entry);
      } else if (entry.level === "WARN" || entry.level === "ERROR") {
        process.stderr.write(`edge: ${text}\n`);
      }
    };
    createInterface({ input: edge.stdout! }).on("line", line);
    createInterface({ input: edge.stderr! }).on("line", line);
    edge.once("close", () => done(undefined));
    edge.once("error", (error) => {
      say(`the edge does not start: ${error.message}`);
      done(undefined);
    });
  });
}

/** ended is resolved with the exit status of a process, as a shell counts it. */
function ended(child: ChildProcess): Promise<number> {
  return new Promise((done) => {
    child.once("exit", (code, signal) => done(code ?? 128 + system.signals[signal!]));
    child.once("error", () => done(127));
  });
}

/**
 * dev runs the edge and, if there is one, the program, until the first of them ends or a signal comes. It returns the
 * exit status.
 */
export async function dev(command: string[]): Promise<number> {
  let path: string;
  try {
    path = findEmbedded();
  } catch (error) {
    say((error as Error).message);
    return 1;
  }
  // In a process group of its own: Ctrl-C does not reach it, so the program can leave before NATS ends.
  const edge = spawn(path, existsSync("partyline.yaml") ? ["--config", "partyline.yaml"] : [], {
    env: await edgeEnvironment(command.length > 0),
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const edgeEnded = ended(edge);
  let first: ChildProcess = edge; // what a signal ends; the other follows
  let signals = 0;
  const stop = () => {
    signals++;
    first.kill(signals > 1 ? "SIGKILL" : "SIGTERM"); // the second Ctrl-C is for good
  };
  (["SIGINT", "SIGTERM", "SIGHUP"] as const).forEach((name) => process.on(name, stop));
  process.on("exit", () => edge.kill());

  const at = await follow(edge);
  if (!at || command.length === 0 || signals) {
    if (at && !signals) {
      say(`run your program with NATS_URL=${at.nats} PARTYLINE_EDGE=http://${at.address}`);
    }
    const status = await edgeEnded;
    return signals ? 0 : status || 1;
  }
  say(`an edge at http://${at.address}, with NATS at ${at.nats}`);
  const program = spawn(command[0], command.slice(1), {
    stdio: "inherit",
    env: { ...process.env, NATS_URL: at.nats, PARTYLINE_EDGE: `http://${at.address}` },
  });
  first = program;
  program.once("error", (error) => say(`${command[0]} does not start: ${error.message}`));
  return together(edge, edgeEnded, program);
}

/** together waits until one of the two ends, and ends the other. It returns the status of the program. */
async function together(edge: ChildProcess, edgeEnded: Promise<number>, program: ChildProcess): Promise<number> {
  const programEnded = ended(program);
  const isEdgeFirst = await Promise.race([programEnded.then(() => false), edgeEnded.then(() => true)]);
  if (isEdgeFirst) {
    say("the edge has ended, so the program ends too");
    program.kill();
    await programEnded;
    return 1;
  }
  edge.kill();
  await edgeEnded;
  return programEnded;
}
