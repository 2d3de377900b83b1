import partyline from "./dist/index.js";

export const { Server, Namespace, Socket } = partyline;
