const socket = io('/chat_room');
const element = (id) => document.getElementById(id);
let name; // once joined
let to; // the socket for the next line, or all

socket.on('connect', () => {
  element('state').textContent = 'connected';
  if (name) socket.emit('join', name, () => {}); // again, after a connection was lost
});
socket.on('disconnect', () => { element('state').textContent = 'disconnected'; });

function show(text, from) {
  const item = document.createElement('li');
  if (from) {
    const button = document.createElement('button');
    button.textContent = from.name;
    button.title = 'Write to this person alone';
    button.onclick = () => { to = from.id; element('text').placeholder = `To ${from.name} alone`; element('text').focus(); };
    item.append(button, `: ${text}`);
  } else {
    item.className = 'news';
    item.textContent = text;
  }
  element('messages').append(item);
}

socket.on('message', (line) => { element('typing').textContent = ''; show(line.text, line); });
socket.on('direct', (line) => show(`${line.text} (to you alone)`, line));
socket.on('joined', (who) => show(`${who} has joined.`));
socket.on('left', (who) => show(`${who} has left.`));
socket.on('typing', (who) => { element('typing').textContent = `${who} is typing …`; });

element('door').onsubmit = (event) => {
  event.preventDefault();
  socket.emit('join', element('name').value, () => {
    name = element('name').value;
    show('You have joined.');
    element('text').focus();
  });
};

element('form').onsubmit = (event) => {
  event.preventDefault();
  const text = element('text').value;
  element('text').value = '';
  if (to) {
    socket.emit('direct', to, text);
    show(`${text} (to one person)`);
    to = undefined;
    element('text').placeholder = 'Message';
  } else {
    socket.emit('message', text, ({ at }) => { element('state').textContent = `sent at ${new Date(at).toLocaleTimeString()}`; });
  }
};
element('text').oninput = () => socket.emit('typing');

element('leave').onclick = () => {
  socket.emit('leave');
  name = undefined;
  show('You have left.');
};
