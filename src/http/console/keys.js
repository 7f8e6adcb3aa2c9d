// The keyboard: one key for each thing, and none while somebody types.
import { byId } from './dom.js';
import { help } from './dialogs.js';

const VIEWS = [['nodes', 'n', '1'], ['channels', 'c', '2'], ['namespaces', 's', '3'], ['publish', 'p', '4']];
const SHOWN = [
  ['/', 'look up a channel or user'],
  ['1 2 3 4', 'nodes, channels, namespaces, publish'],
  ['g n', 'nodes; g c channels, g s namespaces, g p publish'],
  ['j k', 'next and previous row'],
  ['r', 'refresh now'],
  ['w', 'watch live, or stop watching'],
  ['?', 'this help'],
  ['Esc', 'close, or leave a field'],
];

const typing = target => target.closest('input, textarea, select') !== null;

/** Listens for keys; `act` does what the views know: refresh, watch. */
export function listen(act) {
  let going = false;
  document.addEventListener('keydown', event => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (key === 'Escape' && typing(target)) return target.blur();
    if (typing(target)) return;
    if (key === '?') return taken(event, () => help(SHOWN));
    if (document.querySelector('dialog[open]') || document.body.dataset.state === 'locked') return;
    const view = VIEWS.find(([, letter, digit]) => key === digit || (going && key === letter));
    going = key === 'g' && !going;
    if (view) return taken(event, () => (location.hash = `#/${view[0]}`));
    if (key === '/') return taken(event, () => byId('name').focus());
    if (key === 'j' || key === 'k') return taken(event, () => step(key === 'j' ? 1 : -1));
    if (key === 'r') return taken(event, act.refresh);
    if (key === 'w') return taken(event, act.watch);
  });
  byId('help').addEventListener('click', () => help(SHOWN));
}

function taken(event, action) {
  event.preventDefault();
  action();
}

/** Moves the focus to the next row that leads somewhere. */
function step(by) {
  const rows = [...document.querySelectorAll('#view tbody tr')].map(row => row.querySelector('a, button')).filter(Boolean);
  const at = rows.findIndex(each => each.closest('tr').contains(document.activeElement));
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1);
  rows[next]?.focus();
}
