// The nodes: how loaded they are, and draining one.
import { Trouble, look, tell } from '../ask.js';
import { confirm, toast } from '../dialogs.js';
import { Facts, h } from '../dom.js';
import { Table } from '../table.js';
import { bytes, count, lasting, percent, plural, rate } from '../words.js';

export function nodes({ refresh }) {
  const facts = new Facts('The cluster');
  const table = new Table('Nodes', columns(refresh), node => node.serverId, 'No nodes.');
  return {
    title: 'Nodes',
    elements: [h('h2', {}, 'Nodes'), facts.element, table.element],
    every: 2000,
    load: async signal => {
      const [cluster, { nodes }] = await Promise.all([look('/cluster/metrics', signal), look('/cluster/nodes', signal)]);
      return { cluster, nodes };
    },
    draw: ({ cluster, nodes }) => {
      facts.draw(summary(cluster));
      table.draw(nodes);
    },
  };
}

function summary(cluster) {
  const wanted = cluster.desiredInstances === null ? '' : `, ${cluster.desiredInstances} asked for`;
  return [
    ['Serving', plural(cluster.totalServers, 'node')],
    ['Connections', of(cluster.totalConnections, cluster.totalCapacity)],
    ['Users', count(cluster.totalUsers), 'On each node; anonymous clients of a node count as one.'],
    ['Deliveries', `${rate(cluster.messagesPerSecond)} /s`],
    ['Load', percent(cluster.averageLoad)],
    ['Advice', `${cluster.recommendedAction.replace('_', ' ')} (${cluster.recommendedInstances}${wanted})`, 'What there should be fewer or more of, and how many nodes that makes.'],
  ];
}

const of = (used, capacity) => (capacity ? `${count(used)} of ${count(capacity)}` : count(used));
const lives = ({ status }) => status === 'up' || status === 'draining';
const living = cell => node => (lives(node) ? cell(node) : '–');

function columns(refresh) {
  return [
    { title: 'Node', cell: name },
    { title: 'State', cell: node => h('span', { class: `state ${node.status}` }, node.status) },
    { title: 'Load', number: true, cell: living(load) },
    { title: 'Connections', number: true, cell: living(node => of(node.connections, node.capacity)) },
    { title: 'Users', number: true, about: 'Anonymous clients count as one.', cell: living(node => count(node.users)) },
    { title: 'Channels', number: true, cell: living(node => count(node.channels)) },
    { title: 'Subscriptions', number: true, cell: living(node => count(node.subscriptions)) },
    { title: 'Deliveries/s', number: true, cell: living(node => rate(node.messagesPerSecond)) },
    { title: 'Processor', number: true, cell: living(node => percent(node.cpu / 100)) },
    { title: 'Memory', number: true, cell: living(node => bytes(node.memory)) },
    { title: 'Waiting', number: true, about: 'Not yet read by slow clients.', cell: living(node => bytes(node.queueBytes)) },
    { title: 'Up for', number: true, cell: living(node => lasting(node.uptime)) },
    { title: 'Silent for', number: true, about: 'Since its last sign of life, where this node has seen one.', cell: node => (node.silentFor === null ? '–' : lasting(node.silentFor)) },
    { title: '', cell: node => (node.status === 'up' ? drainButton(node.serverId, refresh) : null) },
  ];
}

function name(node) {
  return h('span', { title: `midplane ${node.version}` }, h('strong', {}, node.serverId), h('small', {}, node.address));
}

function load(node) {
  const meter = h('meter', { min: 0, max: 1, low: 0.6, high: 0.8, optimum: 0, value: node.load, 'aria-hidden': 'true' });
  return h('span', { class: 'load' }, meter, percent(node.load));
}

function drainButton(node, refresh) {
  return h('button', { type: 'button', class: 'danger small changes', 'aria-label': `Drain ${node}`, onclick: () => drain(node, refresh) }, 'Drain');
}

async function drain(node, refresh) {
  const sure = await confirm({
    title: `Drain ${node}?`,
    text: 'It takes no clients any more and sends those that it has to the other nodes, at the pace that these can take. It serves again only once it is started anew.',
    action: 'Drain',
  });
  if (!sure) return;
  try {
    await order(node);
    toast(`${node} drains.`);
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    toast(`${node} is not drained: ${error.message}`);
  }
  refresh();
}

async function order(node) {
  try {
    await tell('/cluster/drain', { serverId: node });
  } catch (error) {
    if (error.code !== 409) throw error;
    const sure = await confirm({
      title: 'Drain the last node?',
      text: `No other node could take the clients of ${node}. They are cut off until a node serves again.`,
      action: 'Drain it all the same',
    });
    if (!sure) throw new Trouble('refused', 'it is the last one that serves.');
    await tell('/cluster/drain', { serverId: node, force: true });
  }
}
