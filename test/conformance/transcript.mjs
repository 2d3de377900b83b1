// What was seen while a case ran, and the comparison of two transcripts.

// Transcript records what each actor saw, in order. There is no order between actors.
export class Transcript {
  #lines = new Map(); // actor → lines
  #seen = new Map(); // actor → how many lines until has taken
  #wake = new Set();
  #last = Date.now();
  #over = false;
  #hasOffsets;

  // With offsets, the last argument of an event may be one.
  constructor(hasOffsets) {
    this.#hasOffsets = hasOffsets;
  }

  note(actor, line) {
    if (this.#over) {
      return;
    }
    this.#last = Date.now();
    if (!this.#lines.has(actor)) {
      this.#lines.set(actor, []);
    }
    const shown = withoutSecrets(line);
    this.#lines.get(actor).push(this.#hasOffsets ? withoutOffsets(shown) : shown);
    this.#wake.forEach((wake) => wake());
  }

  lines(actor) {
    return this.#lines.get(actor) ?? [];
  }

  actors() {
    return [...this.#lines.keys()].sort();
  }

  // settle waits until nothing has been recorded for some milliseconds.
  async settle(quiet) {
    for (let left = quiet; left > 0; left = this.#last + quiet - Date.now()) {
      await new Promise((resolve) => { setTimeout(resolve, left); });
    }
  }

  // close ends the recording.
  close() { this.#over = true; }

  // until waits for the actor's next line that fits, after the previous one that it returned.
  async until(actor, fits, patience) {
    const end = Date.now() + patience;
    for (;;) {
      const lines = this.lines(actor);
      for (let at = this.#seen.get(actor) ?? 0; at < lines.length; at++) {
        if (typeof fits === 'string' ? lines[at].includes(fits) : fits.test(lines[at])) {
          this.#seen.set(actor, at + 1);
          return lines[at];
        }
      }
      if (Date.now() >= end) {
        throw new Error(`${actor} did not get ${fits} in time`);
      }
      await new Promise((resolve) => {
        const done = () => {
          clearTimeout(timer);
          this.#wake.delete(done); // another wait has its own
          resolve();
        };
        const timer = setTimeout(done, end - Date.now());
        this.#wake.add(done);
      });
    }
  }
}

// withoutSecrets replaces what differs in each run: ids of sessions and sockets, ports, times.
function withoutSecrets(line) {
  return line
    .replace(/("sid\\*":\\*")[\w.-]*/g, '$1<sid>')
    .replace(/\bio=[\w.-]{20,}/g, 'io=<sid>')
    .replace(/127\.0\.0\.1:\d+/g, '<server>')
    .replace(/(case=|"case":"|\/(?:owned|stateless)-)\w+/g, '$1<case>')
    .replace(/"issued":\d{13}\b/g, '"issued":<time>')
    .replace(/"time":"\w{3} \w{3} \d\d \d{4} [\d:]{8} GMT[+-]\d{4} \([^)]*\)"/g, '"time":"<time>"');
}

// withoutOffsets replaces what a client sends to recover: "pid", and the offset of its last event.
function withoutOffsets(line) {
  return line
    .replace(/"pid":"[\w.-]+"/g, '"pid":"<pid>"')
    .replace(/"(?:[\w-]{7}(?:\.[\w-]+)?|[0-9a-z]{5}:[0-9a-z]+)"\]/g, '"<offset>"]');
}

// compare lists what only one of two transcripts has.
export function compare(reference, ours) {
  const difference = { reference: [], ours: [] };
  const [a, b] = [linesByActor(reference), linesByActor(ours)];
  for (const actor of [...new Set([...a.keys(), ...b.keys()])].sort()) {
    const [left, right] = unshared(a.get(actor) ?? [], b.get(actor) ?? []);
    difference.reference.push(...left.map((line) => `${actor}: ${line}`));
    difference.ours.push(...right.map((line) => `${actor}: ${line}`));
  }
  return difference;
}

// linesByActor returns what each actor saw. The application's lines are separate for each namespace: nothing orders an
// event in one of them and the end of a socket in another.
function linesByActor(transcript) {
  const all = new Map();
  for (const actor of transcript.actors()) {
    for (const line of transcript.lines(actor)) {
      const name = actor === 'server' ? `server ${line.split(' ')[1]}` : actor;
      all.set(name, [...all.get(name) ?? [], line]);
    }
  }
  return all;
}

// unshared returns what is left of two lists without their longest common subsequence.
function unshared(a, b) {
  const longest = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const left = [];
  const right = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      i++;
      j++;
    } else if (j >= b.length || (i < a.length && longest[i + 1][j] >= longest[i][j + 1])) {
      left.push(a[i++]);
    } else {
      right.push(b[j++]);
    }
  }
  return [left, right];
}
