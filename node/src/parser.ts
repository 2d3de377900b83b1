/**
 * The identity parser: the edge encodes packets, so the classes of socket.io pass packets as objects to Conn.write,
 * and take them as objects from its event "data".
 */
import { PacketType } from "./wire";
import type { Packet } from "./wire";

class Encoder {
  encode(packet: Packet): Packet[] {
    return [packet];
  }
}

class Decoder {
  #take: ((packet: Packet) => void) | undefined;

  on(event: string, take: (packet: Packet) => void): void {
    if (event === "decoded") {
      this.#take = take;
    }
  }

  add(packet: Packet): void {
    this.#take?.(packet);
  }

  removeListener(): void {
    this.#take = undefined;
  }

  destroy(): void {}
}

export const identityParser = { Encoder, Decoder, PacketType, protocol: 5 };
