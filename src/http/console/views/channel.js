// One channel: who is there, and what was published last.
import { Trouble, call } from '../ask.js';
import { Facts, h, linkTo, place } from '../dom.js';
import { LivePanel } from '../live.js';
import { Table } from '../table.js';
import { count } from '../words.js';

const LATEST = 20;
/** The namespace keeps no history, or does not record who is there. */
const NOT_AVAILABLE = 108;

const PRESENT = [
  { title: 'User', cell: ({ user }) => linkTo('user', user ?? '') },
  { title: 'Client', cell: ({ client }) => h('code', {}, client) },
  { title: 'Information', cell: info => h('code', { class: 'data' }, JSON.stringify(info.conn_info ?? info.chan_info ?? null)) },
];

const PUBLISHED = [
  { title: 'Offset', cell: it => String(it.offset) },
  { title: 'By', cell: ({ info }) => (info ? linkTo('user', info.user ?? '') : 'a backend') },
  { title: 'Data', cell: it => h('code', { class: 'data' }, it.b64data ? `base64: ${it.b64data}` : JSON.stringify(it.data)) },
];

export function channel({ argument: name }) {
  const live = new LivePanel({ channel: name });
  const facts = new Facts('The channel');
  const present = new Table('Who is there', PRESENT, ({ client }) => client, 'Nobody is there.');
  const absent = h('p', { class: 'empty' }, 'The namespace does not record who is there.');
  const published = new Table('Latest publications', PUBLISHED, it => String(it.offset), 'Nothing is stored.');
  const unkept = h('p', { class: 'empty' }, 'The namespace keeps no history.');
  // Until the node has answered nothing is known, and nothing is said.
  for (const part of [present.element, absent, published.element, unkept]) part.hidden = true;
  return {
    title: name,
    elements: [
      h('h2', {}, 'Channel ', h('code', {}, name)),
      h('div', { class: 'actions' }, live.button, h('a', { class: 'button changes', href: place('publish', name) }, 'Publish to it')),
      facts.element,
      live.element,
      h('section', {}, h('h3', {}, 'Who is there'), present.element, absent),
      h('section', {}, h('h3', {}, `Latest ${LATEST} publications`), published.element, unkept),
    ],
    watch: () => live.toggle(),
    close: () => live.stop(),
    every: 3000,
    load: signal => load(name, signal),
    draw: ({ subscribers, presence, history }) => {
      facts.draw([
        ['Subscribers', count(subscribers)],
        ['Users', presence ? count(new Set(presence.map(({ user }) => user ?? '')).size) : '–'],
        ['Offset', history ? String(history.offset) : '–'],
        ['Epoch', history?.epoch ?? '–'],
      ]);
      show(present, absent, presence);
      show(published, unkept, history?.publications);
    },
  };
}

function show(table, without, rows) {
  table.element.hidden = !rows;
  without.hidden = Boolean(rows);
  if (rows) table.draw(rows);
}

async function load(channel, signal) {
  const pattern = channel.replace(/[*?[\]{}\\]/g, found => `[${found}]`);
  const [{ channels }, presence, history] = await Promise.all([
    call('channels', { pattern }, signal),
    unless(NOT_AVAILABLE, call('presence', { channel }, signal)),
    unless(NOT_AVAILABLE, call('history', { channel, limit: LATEST, reverse: true }, signal)),
  ]);
  return {
    subscribers: channels[channel]?.num_clients ?? 0,
    presence: presence && Object.values(presence.presence),
    history,
  };
}

/** What is asked for, or null where the answer is this error. */
async function unless(code, asked) {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Trouble && error.code === code) return null;
    throw error;
  }
}
