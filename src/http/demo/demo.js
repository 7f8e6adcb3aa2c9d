// The demo page: the official SDK against this node, or against the nodes that ?nodes= names.
'use strict';

const CUT_MILLISECONDS = 4000;
const HISTORY_LIMIT = 50;
const LONGEST_TEXT = 2000;

const query = new URLSearchParams(location.search);
const here = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}`;
const nodes = (query.get('nodes') || here)
  .split(',')
  .map(node => node.trim().replace(/\/$/, ''))
  .filter(Boolean)
  .map(node => (new URL(node).pathname === '/' ? `${node}/connection/websocket` : node));
const element = id => document.getElementById(id);

// ---- The line: which node the next socket goes to, and whether it is cut.

const line = { at: 0, cut: false, socket: null };

/** A WebSocket that goes to the node whose turn it is. A node that fails passes the turn on. */
class Socket extends WebSocket {
  constructor() {
    if (line.cut) throw new Error('the line is cut');
    super(nodes[line.at % nodes.length]);
    line.socket = this;
    this.addEventListener('close', () => {
      if (line.socket === this && !line.cut) line.at += 1;
    });
  }
}

function cutTheLine() {
  line.cut = true;
  element('drop').disabled = true;
  line.socket?.close();
  setTimeout(() => {
    tell('the line is whole again');
    line.cut = false;
    element('drop').disabled = false;
    window.dispatchEvent(new Event('online')); // the SDK then reconnects at once
  }, CUT_MILLISECONDS);
}

// ---- What the page shows.

/** Says what happened; what happens again and again stays one line. */
function tell(text) {
  const last = element('events').firstElementChild;
  const again = last?.dataset.text === text;
  const item = again ? last : document.createElement('li');
  const times = again ? Number(item.dataset.times) + 1 : 1;
  Object.assign(item.dataset, { text, times });
  const time = document.createElement('time');
  time.textContent = new Date().toLocaleTimeString([], { hour12: false });
  item.replaceChildren(time, times > 1 ? `${text} (${times} times)` : text);
  element('events').prepend(item);
  while (element('events').children.length > 100) element('events').lastElementChild.remove();
}

/** Says what is wrong, and with `again` offers the only way out. */
function complain(text, again = false) {
  element('problem').textContent = text;
  element('again').hidden = !again;
}

function note(text, kind) {
  const item = document.createElement('li');
  item.className = `note ${kind || ''}`;
  item.textContent = text;
  append(item);
}

function append(item) {
  const list = element('messages');
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  list.append(item);
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function messageItem(publication, recovered) {
  const data = publication.data && typeof publication.data === 'object' ? publication.data : { text: publication.data };
  const item = document.createElement('li');
  const part = (kind, text) => {
    const span = document.createElement('span');
    span.className = kind;
    span.textContent = text;
    item.append(span);
  };
  item.className = 'message';
  item.classList.toggle('mine', data.tab === tab);
  item.classList.toggle('recovered', recovered);
  if (publication.offset) item.dataset.offset = publication.offset;
  part('who', data.name || publication.info?.user || 'a backend');
  part('again', recovered ? 'recovered' : '');
  part('what', typeof data.text === 'string' ? data.text : JSON.stringify(publication.data));
  return item;
}

function showPosition(position) {
  if (position.offset) element('offset').textContent = position.offset;
  if (position.epoch !== undefined) element('epoch').textContent = position.epoch || '–';
}

function showReadiness() {
  const ready = client.state === 'connected' && subscription?.state === 'subscribed';
  element('send').disabled = !ready || sending;
  element('history').disabled = !ready;
}

// ---- The client.

const tab = Math.random().toString(36).slice(2); // tells our own messages from others'
const client = new Centrifuge(nodes[0], {
  token: query.get('token') || '',
  websocket: Socket,
  minReconnectDelay: 200,
  maxReconnectDelay: 2000,
  maxServerPingDelay: 5000,
});
let subscription = null;
let connects = 0;
let sending = false;

client.on('state', ({ newState }) => {
  document.body.dataset.state = newState;
  element('state').textContent = newState === 'connecting' && connects > 0 ? 'reconnecting' : newState;
  showReadiness();
});
client.on('connected', context => {
  connects += 1;
  element('node').textContent = new URL(nodes[line.at % nodes.length]).host;
  element('transport').textContent = context.transport;
  element('client').textContent = context.client;
  element('connects').textContent = connects;
  tell(`connected to ${element('node').textContent}`);
});
client.on('connecting', ({ code, reason }) => {
  if (connects > 0) tell(`connection lost: ${reason} (${code})`);
});
client.on('disconnected', ({ code, reason }) => {
  const text = `disconnected for good: ${reason} (${code})`;
  tell(text);
  complain(text, true);
});
client.on('error', ({ error }) => line.cut || tell(`${error.message || 'error'}${error.code ? ` (${error.code})` : ''}`));

// ---- The channel.

function join(channel) {
  if (subscription) {
    subscription.unsubscribe();
    client.removeSubscription(subscription);
  }
  element('messages').replaceChildren();
  element('empty').classList.remove('unknown');
  element('channel-title').textContent = channel;
  element('channel').value = channel;
  for (const id of ['offset', 'epoch', 'recoverable']) element(id).textContent = '–';
  element('present').textContent = '';
  if (client.state !== 'disconnected') complain('');

  const joined = client.newSubscription(channel, { joinLeave: true });
  subscription = joined;
  let first = true;
  let recovering = false;
  let recoveredCount = 0;

  joined.on('subscribed', context => {
    showReadiness();
    element('recoverable').textContent = context.recoverable ? 'yes' : 'no';
    if (context.streamPosition) showPosition(context.streamPosition);
    showPresent(joined);
    if (first) {
      first = false;
      tell(`joined ${channel}`);
      showHistory(joined, true);
      return;
    }
    // Recovered publications follow this event within the same turn of the event loop.
    recovering = context.recovered;
    recoveredCount = 0;
    setTimeout(() => {
      recovering = false;
      afterReconnect(context, recoveredCount);
    });
  });
  joined.on('publication', publication => {
    if (recovering) recoveredCount += 1;
    showPosition(publication);
    append(messageItem(publication, recovering));
  });
  for (const change of ['join', 'leave']) joined.on(change, () => showPresent(joined));
  joined.on('subscribing', ({ code, reason }) => {
    showReadiness();
    if (!first && client.state !== 'disconnected') note(code === 1 ? 'connection lost, reconnecting' : `resubscribing: ${reason}`);
  });
  joined.on('unsubscribed', ({ code, reason }) => {
    showReadiness();
    if (code === 0) return;
    const text = `${first ? 'cannot join' : 'left'} ${channel}: ${reason} (${code})`;
    tell(text);
    complain(text);
    if (first) element('channel-title').textContent = 'No channel';
    element('empty').classList.toggle('unknown', first);
  });
  joined.on('error', ({ error }) => tell(`${channel}: ${error.message} (${error.code})`));
  joined.subscribe();
}

/** How many are here, other tabs included. */
let counting = null;
function showPresent(of) {
  clearTimeout(counting); // many may come at once
  counting = setTimeout(async () => {
    const stats = await of.presenceStats().catch(() => null); // not every channel has it
    if (of === subscription) element('present').textContent = stats ? `${stats.numClients} here` : '';
  }, 50);
}

function afterReconnect(context, count) {
  if (context.recovered) {
    const text = `recovered ${count} ${count === 1 ? 'message' : 'messages'}`;
    note(text, 'good');
    tell(text);
  } else if (context.wasRecovering) {
    note('could not recover: messages may be missing', 'bad');
    tell('could not recover');
  } else {
    note('reconnected (this channel keeps no history)');
    tell('reconnected');
  }
}

async function showHistory(of, quietly) {
  try {
    const { publications } = await of.history({ limit: HISTORY_LIMIT, reverse: true });
    if (of !== subscription) return;
    const shown = new Set([...element('messages').querySelectorAll('[data-offset]')].map(item => Number(item.dataset.offset)));
    // Bytes that are no JSON come as null: there is nothing to show of them here.
    const missing = publications.filter(({ data, offset }) => data !== null && data !== undefined && !shown.has(offset));
    for (const publication of missing) insertByOffset(messageItem(publication, false), publication.offset);
    element('messages').scrollTop = element('messages').scrollHeight;
    if (!quietly || missing.length > 0) tell(`history: ${publications.length}`);
  } catch (error) {
    if (!quietly) complain(`no history: ${error.message} (${error.code})`);
  }
}

function insertByOffset(item, offset) {
  const later = [...element('messages').querySelectorAll('[data-offset]')].find(shown => Number(shown.dataset.offset) > offset);
  element('messages').insertBefore(item, later || element('messages').querySelector('.note'));
}

// ---- What the visitor does.

element('join').addEventListener('submit', event => {
  event.preventDefault();
  join(element('channel').value.trim());
});
element('compose').addEventListener('submit', async event => {
  event.preventDefault();
  const text = element('text').value;
  const name = element('name').value.trim();
  localStorage.setItem('midplane-name', name);
  complain('');
  if (text.length > LONGEST_TEXT) return complain(`not sent: ${text.length} characters, at most ${LONGEST_TEXT} are taken`);
  sending = true;
  showReadiness();
  try {
    await subscription.publish({ name, text, tab });
    // Acknowledged: only now it may go, unless something else was written meanwhile.
    if (element('text').value === text) element('text').value = '';
  } catch (error) {
    if (client.state !== 'disconnected') complain(`not sent: ${error.message} (${error.code})`);
  } finally {
    sending = false;
    showReadiness();
  }
});
element('again').addEventListener('click', () => {
  complain('');
  client.connect();
});
element('drop').addEventListener('click', () => {
  tell(`the line is cut for ${CUT_MILLISECONDS / 1000} seconds`);
  cutTheLine();
});
element('history').addEventListener('click', () => showHistory(subscription, false));

element('name').value = query.get('name') || localStorage.getItem('midplane-name') || `guest-${tab.slice(0, 3)}`;
element('second-tab').href = location.href;
showReadiness();
join(query.get('channel') || 'chat:lobby');
client.connect();
