// The busiest channels, or those of a pattern.
import { call } from '../ask.js';
import { h, linkTo, place } from '../dom.js';
import { Table } from '../table.js';
import { count, plural, rate } from '../words.js';

/** Rows that a page can take. */
const MOST = 500;
const BUSIEST = 50;

const CHANNEL = { title: 'Channel', cell: it => linkTo('channel', it.channel) };
const SUBSCRIBERS = { title: 'Subscribers', number: true, cell: it => count(it.num_clients) };
const BUSY = [
  CHANNEL,
  { title: 'Deliveries/s', number: true, cell: it => rate(it.deliveries_per_second) },
  { title: 'Publications/s', number: true, cell: it => rate(it.publications_per_second) },
  SUBSCRIBERS,
];

export function channels({ argument: pattern }) {
  const field = h('input', { id: 'pattern', type: 'search', value: pattern, placeholder: 'chat:*', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', maxlength: 256 });
  const search = event => {
    event.preventDefault();
    const wanted = field.value.trim();
    location.hash = wanted ? place('channels', wanted) : '#/channels';
  };
  const form = h('form', { class: 'row', role: 'search', onsubmit: search },
    h('label', { for: 'pattern' }, 'Pattern'), field, h('button', { type: 'submit' }, 'List'));
  return { title: 'Channels', ...(pattern ? matching(pattern, form) : busiest(form)) };
}

function busiest(form) {
  const table = new Table('Busiest channels', BUSY, it => it.channel, 'Nothing was delivered in the last seconds.');
  const hint = 'Of the last ten to twenty seconds, on all nodes, at least so much: a few hundred channels are counted at one time.';
  return {
    elements: [h('h2', {}, 'Busiest channels'), form, table.element, h('p', { class: 'hint' }, hint)],
    every: 2000,
    load: signal => call('busiest_channels', { limit: BUSIEST }, signal),
    draw: ({ channels }) => table.draw(channels),
  };
}

function matching(pattern, form) {
  const table = new Table('Channels', [CHANNEL, SUBSCRIBERS], it => it.channel, 'Nobody listens to such a channel.');
  const total = h('p', { class: 'hint', role: 'status' });
  return {
    elements: [h('h2', {}, 'Channels with subscribers'), form, total, table.element],
    every: 5000,
    load: signal => call('channels', { pattern }, signal),
    draw: ({ channels }) => {
      const all = Object.entries(channels).map(([channel, it]) => ({ channel, ...it }));
      all.sort((one, other) => other.num_clients - one.num_clients || (one.channel < other.channel ? -1 : 1));
      const left = all.length > MOST ? `, the ${count(MOST)} with most subscribers shown` : '';
      total.textContent = `${plural(all.length, 'channel')}${left}`;
      table.draw(all.slice(0, MOST));
    },
  };
}
