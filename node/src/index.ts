/** Socket.IO's server API behind Partyline's edges: `import { Server } from "partyline"` in place of "socket.io". */
export { Server } from "./server";
export { Namespace, Socket } from "socket.io";
export type {
  BroadcastOperator,
  DefaultEventsMap,
  DisconnectReason,
  Event,
  ExtendedError,
  RemoteSocket,
} from "socket.io";
export type { Member } from "./follow";
export type { Grant } from "./grant";
export { AnswerError, OfflineError } from "./errors";
export type { Logger } from "./log";
export type { NATSOption } from "./link";
export type { PartylineOptions, ServerOptions } from "./options";
