/** OfflineError is the error of what cannot be published because there is no connection to NATS. */
export class OfflineError extends Error {
  readonly code = "OFFLINE";

  constructor(what = "NATS is away: nothing was sent") {
    super(`partyline: ${what}`);
    this.name = "OfflineError";
  }
}

/** AnswerError is the error of an edge, or that no answer came in time. */
export class AnswerError extends Error {
  constructor(what: string) {
    super(`partyline: ${what}`);
    this.name = "AnswerError";
  }
}
