// The parts of the contract that this page needs: how names become subjects, and the commands of a NATS client.
// docs/subjects.md is the whole contract. subjects/testdata/names.json tests this file, too.

const maxBytes = 512; // of a name before it is escaped; of a namespace with its slash
const maxTokens = 16; // of an event's or a room's name in a subject

const utf8 = new TextEncoder();

// Characters that no NATS subject may contain, or that escaping uses. The others stay readable.
const alwaysEscaped = /[\u0000-\u0020\u007f%*>]/g;

// Half of a surrogate pair: such a text has no UTF-8, so it cannot be a name.
const loneSurrogate = /\p{Surrogate}/u;

// escapeCharacter writes one ASCII character as %XX.
function escapeCharacter(character) {
  return '%' + character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0');
}

// checked returns a name. It throws what an edge would refuse, with a sentence for the person who typed it.
function checked(name, what) {
  if (loneSurrogate.test(name)) {
    throw new RangeError(`This ${what} holds half a character (a lone surrogate).`);
  }
  if (utf8.encode(name).length > maxBytes) {
    throw new RangeError(`This ${what} is too long: a name has at most ${maxBytes} bytes.`);
  }
  return name;
}

// escapeTail writes a name as the end of a subject. Dots between two tokens stay, so that wildcards work.
function escapeTail(name, what) {
  const tail = checked(name, what)
    .replace(alwaysEscaped, escapeCharacter)
    .replace(/^\.|\.$|(?<=\.)\./g, escapeCharacter);
  if (tail.split('.').length > maxTokens) {
    throw new RangeError(`This ${what} has too many dots: a name has at most ${maxTokens} parts between them.`);
  }
  return tail === '' ? '%' : tail;
}

// roomName returns a room as in a subject. Like the next two it throws a RangeError for a name that has no subject.
export function roomName(name) {
  return escapeTail(name, 'room');
}

// eventName returns an event as in a subject. If its first token is also the word of a target, that token's first
// letter is escaped. A number is used as its JSON text.
export function eventName(name) {
  return escapeTail(String(name), 'event')
    .replace(/^(?:all|room|socket|\$ready)(?=\.|$)/, (token) => escapeCharacter(token[0]) + token.slice(1));
}

// namespaceName returns a namespace, given with its leading slash, as its token in a subject.
export function namespaceName(name) {
  if (!name.startsWith('/')) {
    throw new RangeError('A namespace begins with a slash.');
  }
  if (name === '/') {
    return '_';
  }
  const bare = checked(name, 'namespace').slice(1);
  return bare === '_' ? '%5F' : bare.replace(alwaysEscaped, escapeCharacter).replace(/^\$|\./g, escapeCharacter);
}

// A socket's id: eight characters of its edge, a dot, and twenty of its own. It is unchanged in a subject.
const socketId = /^[0-9a-z]{8}\.[0-9A-Za-z_-]{20}$/;

// isSocketId reports whether a text has the form of a socket's id.
export function isSocketId(text) {
  return socketId.test(text);
}

// Subjects builds the subjects of one namespace under one prefix.
export class Subjects {
  constructor(prefix, namespace) {
    this.base = `${prefix}.${namespaceName(namespace)}`;
  }

  // on returns the subject of a client's event.
  on(event) {
    return `${this.base}.on.${eventName(event)}`;
  }

  // to combines a verb (emit, broadcast, ask, join, …; or * to subscribe to all of them) and a target.
  to(verb, target) {
    return `${this.base}.${verb}.${target}`;
  }

  // address returns the subject of a socket, which is also the reply subject of its events.
  address(id) {
    return this.to('emit', socket(id));
  }
}

// The targets: what follows the verb.
export const all = 'all';
export const room = (name) => `room.${roomName(name)}`;
export const socket = (id) => `socket.${id}`;

// body returns the body of an event on NATS, as the official client sends it: its data array as JSON.
export function body(event, ...values) {
  return JSON.stringify([event, ...values]);
}

// natsLine returns a `nats` command: verb `pub`, `req` or, without a text (null), `sub`. An empty reply or server is
// omitted. The command treats subject and body as Go templates, which must be switched off for a text with {{.
export function natsLine(verb, subject, text, { reply = '', server = '' } = {}) {
  const words = ['nats'];
  if (server !== '' && !/^nats:\/\/(127\.0\.0\.1|localhost):4222$/.test(server)) {
    words.push('-s', quoted(server)); // the others are the command's defaults
  }
  words.push(verb, quoted(subject));
  if (text !== null) {
    words.push(quoted(text));
  }
  if (reply !== '') {
    words.push('--reply', quoted(reply));
  }
  if (verb !== 'sub' && `${subject} ${text}`.includes('{{')) {
    words.push('--no-templates');
  }
  return words.join(' ');
}

// quoted returns a text as one word of a POSIX shell.
export function quoted(text) {
  if (/^[\w./:,@%+=-]+$/.test(text)) {
    return text;
  }
  return `'${text.replaceAll("'", "'\\''")}'`;
}
