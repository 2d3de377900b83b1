// Lists of one line an entry. An entry opens on a click or with Enter; the arrow keys go from one to the next.
// Everything is set as text, so messages cannot contain markup.

const longest = 300; // entries kept in a list

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
  return element('div', 'line', [code, copyButton(command, label, code)]);
}

// subjectCode shows a subject with marked parts: prefix, namespace, verb, target. The prefix may have several tokens.
export function subjectCode(subject, prefix) {
  const [namespace, verb = '', ...target] = subject.slice(prefix.length + 1).split('.');
  return element('code', 'subject', [
    element('span', 'part-prefix', `${prefix}.`), `${namespace}.`, element('span', 'part-verb', verb),
    target.length > 0 ? '.' : '', element('span', 'part-target', target.join('.')),
  ]);
}

// list makes an element a list of entries, of which one is a stop of the Tab key. A list that shows its end does so
// also when it becomes smaller.
export function list(at) {
  let showsEnd = true;
  at.addEventListener('scroll', () => { showsEnd = at.scrollHeight - at.scrollTop - at.clientHeight < 40; });
  new ResizeObserver(() => { if (showsEnd) { at.scrollTop = at.scrollHeight; } }).observe(at);
  at.addEventListener('keydown', (event) => {
    const entry = event.target.matches('summary') ? event.target.parentElement : null;
    const to = { ArrowUp: entry?.previousElementSibling, ArrowDown: entry?.nextElementSibling, Home: at.firstElementChild, End: at.lastElementChild }[event.key];
    if (entry && to?.matches('details')) {
      event.preventDefault();
      stop(at, to);
      to.firstElementChild.focus();
    }
  });
  at.addEventListener('focusin', (event) => {
    if (event.target.matches('summary')) {
      stop(at, event.target.parentElement);
    }
  });
}

// stop makes one entry the stop of the Tab key.
function stop(at, entry) {
  at.querySelector('summary[tabindex="0"]')?.setAttribute('tabindex', '-1');
  entry.firstElementChild.setAttribute('tabindex', '0');
}

// entry makes an entry: what its line has, and a function that returns what is shown once it is opened.
export function entry(className, inside, details, attributes = {}) {
  const summary = element('summary', '', [clock(), ...inside], { tabindex: '-1' });
  const made = element('details', `entry ${className}`, summary, attributes);
  made.addEventListener('toggle', () => {
    if (made.open && made.childElementCount === 1) {
      made.append(details());
    }
  });
  return made;
}

// facts makes the table of an open entry of terms and texts or elements. It leaves out empty ones.
export function facts(pairs) {
  const table = element('dl', 'facts');
  for (const [term, value] of pairs) {
    if (value && (!Array.isArray(value) || value.length > 0)) {
      table.append(element('dt', '', term), element('dd', '', value));
    }
  }
  return table;
}

// append adds an entry at the end of a list, which follows it, unless a person reads earlier ones.
export function append(at, made) {
  const follows = at.scrollHeight - at.scrollTop - at.clientHeight < 40;
  at.append(made);
  while (at.childElementCount > longest) {
    at.firstElementChild.remove();
  }
  if (!at.contains(document.activeElement)) {
    stop(at, made);
  }
  if (follows || made.matches('.out')) {
    at.scrollTop = at.scrollHeight;
  }
}

// announce reads a text to those who do not see the page.
export function announce(text) {
  announcer.textContent = text;
}

function clock() {
  const now = new Date();
  return element('time', '', now.toLocaleTimeString('en-GB'), { datetime: now.toISOString() });
}

// hue returns the colour of a speaker, which never changes.
export function hue(text) {
  let sum = 0;
  for (const character of text) {
    sum = (sum * 31 + character.codePointAt(0)) % 360;
  }
  return String(sum);
}
