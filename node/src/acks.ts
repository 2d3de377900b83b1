/** How many events of clients wait for the acks of handlers. A server that leaves waits for these. */
import type { Seat } from "./seat";

export class Acks {
  #waiting = 0;
  #finished: (() => void)[] = [];

  begin(seat: Seat): void {
    seat.unacked++;
    this.#waiting++;
  }

  end(seat: Seat): void {
    if (seat.unacked > 0) {
      seat.unacked--;
      this.#less(1);
    }
  }

  /** forget no longer waits for the acks of a socket that has gone. */
  forget(seat: Seat): void {
    this.#less(seat.unacked);
    seat.unacked = 0;
  }

  #less(count: number): void {
    this.#waiting -= count;
    if (this.#waiting === 0) {
      this.#finished.splice(0).forEach((wake) => wake());
    }
  }

  /** finished waits until no ack is awaited, at most for so many milliseconds. */
  finished(atMost: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#waiting === 0) {
        resolve();
        return;
      }
      const timer = setTimeout(resolve, atMost);
      this.#finished.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
