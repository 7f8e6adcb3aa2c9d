// The namespaces: what each keeps and promises, and how much it is used.
import { call } from '../ask.js';
import { h } from '../dom.js';
import { Table } from '../table.js';
import { count, lasting } from '../words.js';

const COLUMNS = [
  { title: 'Namespace', cell: ([name]) => h('strong', {}, name || '(default)') },
  { title: 'Channels', number: true, cell: ([, it]) => count(it.num_channels) },
  { title: 'Subscriptions', number: true, cell: ([, it]) => count(it.num_subs) },
  { title: 'History', cell: ([, { history }]) => (history ? `${count(history.size)}, ${lasting(history.ttl_ms)}` : 'none') },
  { title: 'Recovery', cell: ([, it]) => it.recovery ?? 'none' },
  { title: 'Presence', cell: ([, it]) => [it.presence && 'recorded', it.join_leave && 'joins and leaves'].filter(Boolean).join(', ') || 'none' },
  { title: 'Slow readers', cell: ([, it]) => it.slow_reader },
];

export function namespaces() {
  const table = new Table('Namespaces', COLUMNS, ([name]) => name, 'No namespaces.');
  return {
    title: 'Namespaces',
    elements: [
      h('h2', {}, 'Namespaces'),
      table.element,
      h('p', { class: 'hint' }, 'Numbers of all nodes; a channel with subscribers on several nodes counts on each.'),
    ],
    every: 5000,
    load: signal => call('namespaces', {}, signal),
    draw: ({ namespaces }) => table.draw(Object.entries(namespaces)),
  };
}
