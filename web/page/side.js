// What stands beside the messages: the namespace's rules, who is in the room, commands, and what passes on NATS.

import { Subjects, all, room as roomTarget, socket as socketTarget, body, natsLine } from './contract.js';
import { append, element, entry, facts, line, list, subjectCode } from './log.js';
import { described } from './rules.js';

const { prefix, nats: server } = document.body.dataset;
const at = (id) => document.getElementById(id);

// showRules shows the rules of a namespace; null if it is not declared.
export function showRules(namespace, rules) {
  at('rules-namespace').textContent = namespace;
  at('rules').replaceChildren(...described(rules).flatMap(([term, text]) => [element('dt', '', term), element('dd', '', text)]));
}

// showTerminal lists commands for a namespace, a room or null, and a socket's id or ''.
export function showTerminal(namespace, joined, id) {
  const subjects = new Subjects(prefix, namespace);
  const target = joined === null ? all : roomTarget(joined);
  const pub = (to, text) => natsLine('pub', subjects.to('emit', to), body('message', text), { server });
  showCommands('terminal', [[joined === null ? `Speak to all of ${namespace}` : `Speak to room “${joined}”`, pub(target, 'hello from NATS')]]);
  showCommands('more-commands', [
    ...id ? [['Speak to this tab alone', pub(socketTarget(id), 'only for you')]] : [],
    ['Watch everything', natsLine('sub', `${prefix}.>`, null, { server })],
  ]);
}

function showCommands(list, commands) {
  at(list).replaceChildren(...commands.flatMap(([what, command]) =>
    [element('dt', '', what), element('dd', '', line(command, `Copy: ${what}`))]));
}

// --- Who is in the room --------------------------------------------------------------------------------------------

const names = new Map(); // of sockets that have spoken, by id
let members = new Map(); // of the room, by id or user
let count = null; // of a room that is too large to list
let shown = { id: '', choose: () => {} };

// named keeps the name of a socket that has spoken.
export function named(id, name) {
  if (id && names.get(id) !== name) {
    names.set(id, name);
    showPeople();
  }
}

// forgetPeople empties the list, and shows why.
export function forgetPeople(why) {
  members = new Map();
  count = null;
  showPeople();
  at('people-note').textContent = why;
}

const key = (member) => member.id ?? `user ${member.user}`;

// learn takes a list of members, or a change of it, as an edge gives them. id is this page's socket.
export function learn(news, id, choose) {
  shown = { id, choose };
  if (news.error) {
    forgetPeople(news.error);
    return;
  }
  count = news.count ?? null;
  if (news.members || count !== null) {
    members = new Map((news.members ?? []).map((member) => [key(member), member]));
  }
  for (const member of news.joined ?? []) { members.set(key(member), member); }
  for (const member of news.left ?? []) { members.delete(key(member)); }
  showPeople();
}

function showPeople() {
  at('people').replaceChildren(...[...members.values()].slice(0, 50).map(({ id, user }) => {
    const name = (names.get(id) ?? user ?? `…${id.slice(-6)}`) + (id === shown.id ? ' (you)' : '');
    if (!id || id === shown.id) {
      return element('li', '', element('span', 'person', name));
    }
    const button = element('button', 'person', name, { type: 'button', title: `${id}: write to this socket` });
    button.addEventListener('click', () => shown.choose(id));
    return element('li', '', button);
  }));
  at('people-note').textContent = count !== null ? `${count} sockets` : members.size > 50 ? `and ${members.size - 50} more` : '';
}

// --- The live tail -------------------------------------------------------------------------------------------------

// startTail shows what passes on NATS while the page is visible. Announcements of edges and services, several a second,
// are left out.
export function startTail() {
  const tail = at('tail');
  let source = null;
  let paused = false;
  list(tail);
  const show = (text) => { at('tail-note').textContent = text; };

  const follow = () => {
    const wanted = !paused && !document.hidden;
    if (!wanted || source !== null) {
      if (!wanted) {
        source?.close();
        source = null;
      }
      return;
    }
    source = new EventSource('tail');
    source.addEventListener('open', () => show(''));
    source.addEventListener('message', ({ data }) => {
      const message = JSON.parse(data);
      if (!message.subject.startsWith(`${prefix}.$`)) {
        append(tail, passing(message));
      }
    });
    source.addEventListener('dropped', ({ data }) => show(`${data} messages were left out: there are more than a page can show.`));
    source.addEventListener('error', () => {
      if (source?.readyState === EventSource.CLOSED) { // refused; otherwise the browser tries again
        source = null;
        paused = true;
        showPause();
        show('Other tabs have the live tail. Close one of them, and press Resume.');
      }
    });
  };
  const showPause = () => {
    at('tail-pause').textContent = paused ? 'Resume' : 'Pause';
    at('tail-pause').setAttribute('aria-pressed', String(paused));
  };
  at('tail-pause').addEventListener('click', () => {
    paused = !paused;
    show('');
    showPause();
    follow();
  });
  document.addEventListener('visibilitychange', follow);
  follow();
}

// passing makes the entry of a message on NATS.
function passing({ subject, reply = '', header = {}, body: text, size, cut }) {
  return entry('passing', [subjectCode(subject, prefix), ' ', element('span', 'text', text)], () => facts([
    ['Subject', subjectCode(subject, prefix)],
    ['Reply', reply && element('code', '', reply)],
    ...Object.entries(header).map(([name, values]) => [name, values.join(', ')]),
    [cut ? `Body, the beginning of ${size} bytes` : 'Body', element('code', '', text)],
  ]), { 'data-subject': subject, 'data-body': text });
}
