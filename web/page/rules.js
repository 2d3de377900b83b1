// The rules of a namespace, as the edge tells them, and what becomes of an event by them. docs/configuration.md has
// the rules.

import { all, room as roomTarget, socket as socketTarget, isSocketId } from './contract.js';

// anyEvent is the composer's choice for an event and arguments as JSON.
export const anyEvent = '*';

// readRules requests the rules of a namespace. It returns null if it is not declared.
export async function readRules(namespace) {
  const response = await fetch(`rules?namespace=${encodeURIComponent(namespace)}`);
  if (!response.ok) {
    throw new Error(`The edge does not tell the rules of ${namespace}: ${await response.text()}`);
  }
  return response.json();
}

// matches reports whether a name matches a pattern, in which * stands for any text.
export function matches(pattern, name) {
  const parts = pattern.split('*').map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^]*')}$`, 'u').test(name);
}

// relayOf returns the relay rule for an event, or undefined.
export const relayOf = (rules, event) => rules?.relay.find((relay) => matches(relay.event, event));

// mayJoin reports whether a client may join a room by itself.
export const mayJoin = (rules, room) => rules?.rooms.some((pattern) => matches(pattern, room)) ?? false;

// showsPeople reports whether a room shows who is in it.
export const showsPeople = (rules, room) => rules?.presence?.rooms.some((pattern) => matches(pattern, room)) ?? false;

const receivers = {
  rooms: 'your rooms', room: 'the room that it names', socket: 'one socket', all: 'all', rooms_or_all: 'your rooms, or all',
};

// choices returns what the composer offers: pairs of an event and a description.
export function choices(rules, joined) {
  const named = (rules?.relay ?? []).filter(({ event }) => !event.includes('*'));
  const list = named.map((relay) => [relay.event, `${relay.event} → ${receiver(relay, joined)}`]);
  if (!named.some(({ event }) => event === 'message')) {
    list.push(['message', relayOf(rules, 'message') ? `message → ${receiver(relayOf(rules, 'message'), joined)}` : 'message → services']);
  }
  return [...list, [anyEvent, 'any event …']];
}

function receiver({ to, self }, joined) {
  if (to === 'rooms_or_all') {
    return joined === null ? 'all others' : 'your room';
  }
  return to === 'all' && !self ? 'all others' : receivers[to];
}

// route returns what the edge does with an event besides publishing it for services: the target's subject, a phrase
// for people, and the reply subject. The subject is '' where the page cannot know it.
export function route(rules, subjects, event, first, { id, joined }) {
  const relay = relayOf(rules, event);
  if (!relay) {
    return { subject: '', where: 'to services', reply: '', note: rules === null ? '' : 'No relay rule passes it on to clients.' };
  }
  const logged = rules.recovery > 0 || rules.rewind.length > 0;
  const verb = relay.self || relay.to === 'socket' || logged ? 'emit' : 'broadcast';
  const reply = verb === 'broadcast' ? subjects.address(id) : ''; // names the socket that broadcast leaves out
  const to = (target, where) => ({ subject: subjects.to(verb, target), where, reply, note: '' });
  const lost = (note) => ({ subject: '', where: 'to services', reply: '', note });
  if (relay.to === 'socket') {
    return isSocketId(first) ? to(socketTarget(first), `to …${first.slice(-6)}`) : lost('The relay rule needs the id of a socket as first argument.');
  }
  if (relay.to === 'all' || relay.to === 'rooms_or_all' && joined === null && ownRoomsOnly(rules)) {
    return to(all, 'to all');
  }
  if (relay.to === 'room') {
    return typeof first === 'string' && first === joined ? to(roomTarget(first), `to room “${first}”`)
      : lost('The relay rule needs a room as first argument, in which this socket is.');
  }
  if (!ownRoomsOnly(rules)) {
    return { subject: '', where: 'to the rooms of this socket', reply: '', note: 'It is relayed to all rooms of this socket, which the edge has.' };
  }
  return joined === null ? lost('It is relayed to the rooms of this socket, which is in none.') : to(roomTarget(joined), `to room “${joined}”`);
}

// ownRoomsOnly reports whether a socket is in no other rooms than it has joined itself.
const ownRoomsOnly = (rules) => rules.connect === 'open' && rules.auto_join.length === 0;

// described returns the rules for people, as pairs of a term and a text.
export function described(rules) {
  if (rules === null) {
    return [['Not declared', 'The configuration does not declare this namespace, so the edge refuses it.']];
  }
  const admitted = { open: 'Everyone is admitted.', service: 'A service decides who is admitted.', token: 'A token admits.' };
  const rooms = rules.rooms.includes('*') ? 'Clients may join any room.'
    : rules.rooms.length > 0 ? `Clients may join ${rules.rooms.join(', ')}.` : 'Only services put clients into rooms.';
  const list = [
    ['Connect', admitted[rules.connect]],
    ['Rooms', rules.auto_join.length > 0 ? `${rooms} All are in ${rules.auto_join.join(', ')}.` : rooms],
    ['Relayed', rules.relay.map(({ event, to, self }) => `${event} → ${receivers[to]}${self && to !== 'socket' ? ', the sender too' : ''}`).join('; ')
      || 'Nothing. Events go to services only.'],
  ];
  if (rules.presence) {
    list.push(['Presence', rules.presence.rooms.includes('*') ? 'Rooms show who is in them.' : `${rules.presence.rooms.join(', ')} show who is in them.`]);
  }
  if (rules.recovery > 0) {
    list.push(['Recovery', `A client that is back within ${seconds(rules.recovery)} misses nothing.`]);
  }
  if (rules.rewind.length > 0) {
    list.push(['Rewind', rules.rewind.map(({ room, messages }) => `Newcomers of ${room} get its last ${messages} events.`).join(' ')]);
  }
  return list;
}

const seconds = (n) => (n % 60 === 0 ? `${n / 60} min` : `${n} s`);
