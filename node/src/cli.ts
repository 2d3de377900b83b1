#!/usr/bin/env node
/** The program `partyline`, for development: `npx partyline dev node server.mjs`. */
import { dev } from "./dev";

const usage = `Usage: partyline dev [PROGRAM [ARGUMENTS…]]

Runs an edge with NATS inside (bin/embedded), and PROGRAM with NATS_URL and PARTYLINE_EDGE in its environment. So
\`new Server(httpServer)\` finds both, and the program's own pages can call io(). Both end together. Without PROGRAM
it runs the edge alone.

The edge is $PARTYLINE_EMBEDDED, else ./bin/embedded, else "embedded" in PATH. It reads ./partyline.yaml, if there is
one, and PARTYLINE_… variables; otherwise it serves all namespaces. Beside a program it listens on free ports, and
its NATS on 4222 if that is free.
`;

const [command, ...rest] = process.argv.slice(2);
if (command === "dev" && !/^--?h(elp)?$/.test(rest[0] ?? "")) {
  void dev(rest).then((status) => {
    process.exitCode = status;
  });
} else {
  const isHelp = command === "dev" || /^(--?h(elp)?|help)$/.test(command ?? "");
  (isHelp ? process.stdout : process.stderr).write(usage);
  process.exitCode = isHelp ? 0 : 2;
}
