/** The worker thread that sends beats. It falls silent when the main thread does not run, or has no connection. */
import { parentPort, workerData } from "node:worker_threads";
import { connect } from "@nats-io/transport-node";
import { Shared } from "./beats";
import type { Beat } from "./beats";
import { beatEvery } from "./members";

/** How long the main thread may be blocked, in milliseconds: Socket.IO's pingTimeout. */
const blockedAtMost = 20_000;

async function run(): Promise<void> {
  const shared = new BigInt64Array(workerData.shared);
  let beat: Beat | undefined;
  parentPort!.on("message", (given: Beat | undefined) => {
    beat = given;
  });
  const nc = await connect(workerData.options);
  parentPort!.postMessage("ready");
  let count = -1n;
  let ran = Date.now();
  setInterval(() => {
    const now = Date.now();
    const counted = Atomics.load(shared, Shared.count);
    if (counted !== count) {
      count = counted;
      ran = now;
    }
    if (!beat || now - ran > blockedAtMost || Atomics.load(shared, Shared.connected) === 0n || !isConnected) {
      return;
    }
    nc.publish(beat.subject, JSON.stringify([{ ...beat.body, at: now }]));
    nc.flush().then(
      () => {
        if (BigInt(now) > Atomics.load(shared, Shared.confirmed)) {
          Atomics.store(shared, Shared.confirmed, BigInt(now));
        }
      },
      () => {},
    );
  }, beatEvery);
  let isConnected = true;
  for await (const status of nc.status()) {
    if (status.type === "disconnect" || status.type === "reconnect") {
      isConnected = status.type === "reconnect";
    }
  }
}

void run();
