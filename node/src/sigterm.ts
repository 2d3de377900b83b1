/** SIGTERM: all servers of the process leave, and then the process ends as it would have without. */

const servers = new Set<{ leave(): Promise<void> }>();

/** leaveOnSigterm has a server leave on SIGTERM, until the returned function is called. */
export function leaveOnSigterm(server: { leave(): Promise<void> }): () => void {
  if (servers.size === 0) {
    process.on("SIGTERM", onSigterm);
  }
  servers.add(server);
  return () => {
    servers.delete(server);
    if (servers.size === 0 && !leaving) {
      process.removeListener("SIGTERM", onSigterm);
    }
  };
}

let leaving = false;

function onSigterm(): void {
  if (leaving) {
    return;
  }
  leaving = true;
  const isAlone = process.listenerCount("SIGTERM") === 1;
  void Promise.allSettled([...servers].map((server) => server.leave())).then(() => {
    leaving = false;
    process.removeListener("SIGTERM", onSigterm);
    if (isAlone) {
      process.kill(process.pid, "SIGTERM"); // with no listener, that ends it; one of the program ends it itself
    }
  });
}
