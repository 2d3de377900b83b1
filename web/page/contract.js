// The contract between Socket.IO clients and NATS, as far as this page needs it: how names become subjects, and what
// a NATS client types. docs/subjects.md is the whole of it; subjects/testdata/names.json tests this file too.

const maxBytes = 512; // of a name before it is escaped; of a namespace with its slash
const maxTokens = 16; // of the tail that an event's or a room's name makes

const utf8 = new TextEncoder();

// What no NATS subject may hold, or what escaping itself uses. The rest stays readable.
const alwaysEscaped = /[\u0000-\u0020\u007f%*>]/g;

// Half of a surrogate pair: such a text has no UTF-8, so it names nothing.
const loneSurrogate = /\p{Surrogate}/u;

// escapeCharacter writes one ASCII character as %XX.
function escapeCharacter(character) {
  return '%' + character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0');
}

// checked returns a name, or refuses what an edge would refuse, with a sentence for the person who typed it.
function checked(name, what) {
  if (loneSurrogate.test(name)) {
    throw new RangeError(`This ${what} holds half a character (a lone surrogate).`);
  }
  if (utf8.encode(name).length > maxBytes) {
    throw new RangeError(`This ${what} is too long: a name has at most ${maxBytes} bytes.`);
  }
  return name;
}

// escapeTail writes a name as the tail of a subject: dots stay where they part two tokens, so that wildcards work.
function escapeTail(name, what) {
  const tail = checked(name, what)
    .replace(alwaysEscaped, escapeCharacter)
    .replace(/^\.|\.$|(?<=\.)\./g, escapeCharacter);
  if (tail.split('.').length > maxTokens) {
    throw new RangeError(`This ${what} has too many dots: a name has at most ${maxTokens} parts between them.`);
  }
  return tail === '' ? '%' : tail;
}

// roomName is a room as it stands in a subject. Like the next two it throws a RangeError for a name that has no
// subject.
export function roomName(name) {
  return escapeTail(name, 'room');
}

// eventName is an event as it stands in a subject. A first token that is also the word of a target gets its first
// letter escaped. Of an event that is a number, its JSON text counts.
export function eventName(name) {
  return escapeTail(String(name), 'event')
    .replace(/^(?:all|room|socket|\$ready)(?=\.|$)/, (token) => escapeCharacter(token[0]) + token.slice(1));
}

// namespaceName is a namespace, given with its leading slash, as the one token that it is in a subject.
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

// A socket's id: eight characters for its edge, a dot, twenty for itself. It stands in a subject as it is.
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

  // on is where services hear that a client emitted an event.
  on(event) {
    return `${this.base}.on.${eventName(event)}`;
  }

  // to joins a verb (emit, broadcast, ask, join, …; or * to subscribe to all of them) and a target.
  to(verb, target) {
    return `${this.base}.${verb}.${target}`;
  }

  // address is where a socket is reached, and the reply subject of its events.
  address(id) {
    return this.to('emit', socket(id));
  }
}

// The targets: what follows the verb.
export const all = 'all';
export const room = (name) => `room.${roomName(name)}`;
export const socket = (id) => `socket.${id}`;

// body is the text of an event on NATS, the same that the official client sends: its data array as JSON.
export function body(event, ...values) {
  return JSON.stringify([event, ...values]);
}

// natsLine is a command for the `nats` command line: verb `pub`, `req` or, without a text (null), `sub`. An empty
// reply or server is left out. The command takes a subject and a body for templates of Go, so text with {{ in it
// needs that switched off.
export function natsLine(verb, subject, text, { reply = '', server = '' } = {}) {
  const words = ['nats'];
  if (server !== '' && !/^nats:\/\/(127\.0\.0\.1|localhost):4222$/.test(server)) {
    words.push('-s', quoted(server)); // the others are where the command connects by itself
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

// quoted makes a text one word of a POSIX shell.
export function quoted(text) {
  if (/^[\w./:,@%+=-]+$/.test(text)) {
    return text;
  }
  return `'${text.replaceAll("'", "'\\''")}'`;
}
