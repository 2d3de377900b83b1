// Runs the code of a case on the server, for what only a server in JavaScript has. The code gets the socket that sent it,
// its namespace, and a helper. It is a function's text, so it must not use anything around it.

const soon = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

// runCode runs a function's text and returns a line: its result as JSON, or the error.
export async function runCode(socket, text, tell, shown) {
  const nsp = socket.nsp;
  const nameOf = (id) => nsp.sockets.get(id)?.handshake.auth.name ?? id;
  const help = {
    tell: (...values) => tell(values.map((value) => (typeof value === 'string' ? value : shown(value))).join(' ')),
    soon,
    peer: (name) => [...nsp.sockets.values()].find((one) => one.handshake.auth.name === name),
    // names replaces ids of sockets by the names of their clients.
    names: (rooms) => [...rooms].map(nameOf).sort(),
    nameOf,
    // caught returns the message of what a function throws.
    caught: (run) => { try { return run(); } catch (error) { return `${error.name}: ${error.message}`; } },
  };
  try {
    return shown(await (0, eval)(`(${text})`)({ socket, nsp, help }));
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}
