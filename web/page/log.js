// The log: one article for each message, with its subject and the command that does the same. Everything is set as
// text, so messages cannot contain markup. Each article carries data-direction, data-event, data-body, data-subject
// and data-subjects.

const longest = 400; // messages kept on the page

const log = document.getElementById('log');
const announcer = document.getElementById('announcer');

// element makes one element with a class, texts or elements inside, and attributes.
export function element(tag, className, inside = [], attributes = {}) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...[inside].flat());
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  return made;
}

// copyButton copies a text. If the browser does not allow that, it selects the text.
export function copyButton(text, label, selectable) {
  const button = element('button', 'copy', 'Copy', { type: 'button', 'aria-label': label });
  button.addEventListener('click', () => copy(text, button, selectable));
  return button;
}

export async function copy(text, button, selectable) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(selectable);
    button.textContent = 'Selected';
  }
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

// line shows a command with a button that copies it. An option and its value stay in one row if they fit, so that
// subject and body are easy to find.
export function line(command, label) {
  const words = command.match(/(?:--?[a-z-]+ )?(?:'[^']*'|\\.|[^\s'\\])+/g);
  const code = element('code', '', words.flatMap((word, i) => [i > 0 ? ' ' : '', element('span', 'word', word)]));
  return element('div', 'line', [copyButton(command, label, code), code]);
}

// subjectCode shows a subject with marked parts: prefix, namespace, verb, target. The prefix may have several tokens.
function subjectCode(subject, prefix) {
  const [namespace, verb, ...target] = subject.slice(prefix.length + 1).split('.');
  return element('code', 'subject', [
    element('span', 'part-prefix', prefix), '.',
    element('span', 'part-namespace', namespace), '.',
    element('span', 'part-verb', verb), '.',
    element('span', 'part-target', target.join('.')),
  ]);
}

// addMessage shows a message:
//   direction  'in' or 'out'
//   event, body    the event's name and its body on NATS
//   who, from      the speaker's name, and its socket's id if it is known
//   where          a short description of the receivers
//   text           what was said
//   subject        the subject that carried it to its receivers, subjects: all of them, or all that may have
//   wire           [[term, subjects, hint]] the same for display
//   command        the command that does the same, or ''
//   note           a remark, or ''
//   choose         called with the socket's id when the speaker is clicked
export function addMessage(message) {
  const { direction, event, body, who, from, where, text, subject, subjects, wire, prefix, command, note, choose } = message;
  const name = from && choose
    ? element('button', 'who', who, { type: 'button', title: `${from}: write to this socket` })
    : element('span', 'who', who);
  if (from && choose) {
    name.addEventListener('click', () => choose(from));
  }
  const face = element('span', 'face', [...who][0].toUpperCase(), { 'aria-hidden': 'true' });
  face.style.setProperty('--hue', hue(from || who));
  const head = element('p', 'head', [face, name, element('span', 'where', where), clock()]);

  const details = element('dl', 'wire');
  for (const [term, list, hint = ''] of wire) {
    details.append(element('dt', '', term, { title: hint }), element('dd', '', list.map((s) => subjectCode(s, prefix))));
  }
  if (command) {
    details.append(element('dt', '', 'the same by hand'), element('dd', '', line(command, 'Copy this command')));
  }
  if (note) {
    details.append(element('dd', 'note', note));
  }
  append(element('article', `message ${direction}`, [head, element('p', 'text', text), details], {
    'data-direction': direction,
    'data-event': event,
    'data-body': body,
    'data-subject': subject,
    'data-subjects': subjects.join(' '),
    'data-command': command,
  }));
  if (direction === 'in') {
    announcer.textContent = [who, where].filter(Boolean).join(', ') + `: ${text}`;
  }
}

// addNotice shows what happened to this page's socket, with its messages on NATS.
export function addNotice(text, { term = '', subject = '', prefix = '', command = '' } = {}) {
  const inside = [element('p', 'head', [element('span', 'happened', text), clock()])];
  const details = element('dl', 'wire');
  if (subject) {
    details.append(element('dt', '', term), element('dd', '', subjectCode(subject, prefix)));
  }
  if (command) {
    details.append(element('dt', '', 'the same by hand'), element('dd', '', line(command, 'Copy this command')));
  }
  if (details.childElementCount > 0) {
    inside.push(details);
  }
  append(element('div', 'notice', inside));
}

function append(entry) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const empty = document.getElementById('empty'); // stays after the notices until the first message
  log.insertBefore(entry, empty);
  if (entry.matches('.message')) {
    empty?.remove();
  }
  while (log.childElementCount > longest) {
    log.firstElementChild.remove();
  }
  if (atEnd || entry.classList.contains('out')) {
    log.scrollTop = log.scrollHeight;
  }
}

function clock() {
  const now = new Date();
  return element('time', '', now.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' }), { datetime: now.toISOString() });
}

// hue returns the colour of a speaker, which never changes.
function hue(text) {
  let sum = 0;
  for (const character of text) {
    sum = (sum * 31 + character.codePointAt(0)) % 360;
  }
  return String(sum);
}
