// One user: where they are connected, what they listen to, and sending them away.
import { Trouble, call } from '../ask.js';
import { confirm, toast } from '../dialogs.js';
import { h, linkTo } from '../dom.js';
import { LivePanel } from '../live.js';
import { Table } from '../table.js';
import { plural, since } from '../words.js';

/** Channels of one connection that are shown. */
const MOST = 30;

export function user({ argument: name, refresh }) {
  const who = name || '(anonymous)';
  const live = new LivePanel({ user: name });
  const go = async (client, text) => {
    const sure = await confirm({ title: `Disconnect ${who}?`, text: `${text} It is sent away for good (3503): its SDK does not come back by itself.`, action: 'Disconnect' });
    if (sure) await disconnect(name, client, refresh);
  };
  const columns = [
    { title: 'Client', cell: ([client]) => h('code', {}, client) },
    { title: 'Connected for', number: true, cell: ([, it]) => since(it.connected_at_ms) },
    { title: 'Transport', cell: ([, it]) => `${it.transport}, ${it.protocol}` },
    { title: 'Application', cell: ([, it]) => [it.app_name, it.app_version].filter(Boolean).join(' ') || '–' },
    { title: 'Channels', cell: ([, it]) => listens(it.state) },
    { title: '', cell: ([client]) => h('button', { type: 'button', class: 'danger small changes', 'aria-label': `Disconnect client ${client}`, onclick: () => go(client, 'One connection ends.') }, 'Disconnect') },
  ];
  const table = new Table('Connections', columns, ([client]) => client, 'Not connected.');
  const total = h('p', { class: 'hint', role: 'status' });
  const all = h('button', { type: 'button', class: 'danger changes', disabled: true, onclick: () => go('', 'All connections of the user end, on all nodes.') }, 'Disconnect all');
  return {
    title: who,
    elements: [h('h2', {}, 'User ', h('code', {}, who)), h('div', { class: 'actions' }, live.button, all), live.element, total, table.element],
    watch: () => live.toggle(),
    close: () => live.stop(),
    every: 3000,
    load: signal => call('connections', { user: name }, signal),
    draw: ({ connections }) => {
      const rows = Object.entries(connections);
      total.textContent = `${plural(rows.length, 'connection')} on all nodes`;
      all.disabled = rows.length === 0;
      table.draw(rows);
    },
  };
}

function listens(state) {
  if (!state) return 'the session is busy';
  const names = Object.keys(state.channels);
  if (names.length === 0) return 'none';
  const links = names.slice(0, MOST).map(name => linkTo('channel', name));
  const more = names.length > MOST ? [`and ${names.length - MOST} more`] : [];
  return h('span', { class: 'list' }, links, more);
}

async function disconnect(user, client, refresh) {
  try {
    await call('disconnect', { user, ...(client && { client }) });
    toast('Told to every node.');
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    toast(`Not disconnected: ${error.message}`);
  }
  refresh();
}
