// Which view is shown, when it asks again, and what is said where there is no answer.
import { Trouble, key, look } from './ask.js';
import { byId, h, place, write } from './dom.js';
import { listen } from './keys.js';
import { channel } from './views/channel.js';
import { channels } from './views/channels.js';
import { namespaces } from './views/namespaces.js';
import { nodes } from './views/nodes.js';
import { publish } from './views/publish.js';
import { user } from './views/user.js';

const views = { nodes, channels, namespaces, publish, channel, user };
const RETRY_MILLISECONDS = 2000;

/** What is shown: a view, its timer, and the request that is under way. */
let shown = null;
let session = null;

function state(word, text = word) {
  document.body.dataset.state = word;
  write(byId('state'), text);
}

function complain(text) {
  byId('trouble').hidden = !text;
  write(byId('trouble'), text);
}

// ---- Signing in.

async function open() {
  if (!key.get()) state('locked');
  try {
    session = await look('/console/session');
  } catch (error) {
    if (error.kind === 'key') return lock(key.get() ? error.message : '');
    complain(`${error.message} Trying again.`);
    state('trouble', 'no answer');
    return setTimeout(open, Math.max(RETRY_MILLISECONDS, (error.wait ?? 0) * 1000));
  }
  complain('');
  for (const id of ['find', 'views']) byId(id).hidden = false;
  byId('leave').hidden = session.open;
  byId('leave').title = session.operator ? `Signed in as ${session.operator}` : '';
  document.body.dataset.access = session.access;
  state('live');
  show();
}

/** Asks for a key, and says what was wrong with the last one. */
function lock(why = '') {
  hide();
  key.forget();
  session = null;
  complain('');
  for (const id of ['find', 'views', 'leave']) byId(id).hidden = true;
  state('locked');
  const problem = h('p', { class: 'problem', role: 'alert' }, why);
  const field = h('input', { id: 'key', type: 'password', autocomplete: 'current-password', required: true, 'aria-describedby': 'key-hint' });
  const enter = event => {
    event.preventDefault();
    key.set(field.value.trim());
    open();
  };
  byId('view').replaceChildren(h('form', { id: 'signin', class: 'card', onsubmit: enter },
    h('h2', {}, 'Operator console'),
    h('label', { for: 'key' }, 'API key or operator token'),
    field, problem,
    h('button', { type: 'submit', class: 'primary' }, 'Sign in'),
    h('p', { id: 'key-hint', class: 'hint' }, 'The node’s http_api.key, or what midplane token --operator made. This tab keeps it until it is closed, and sends it in a header only.')));
  field.focus();
}

// ---- Views.

/** The view and the name in `#/channel/chat%3Alobby`. */
function route() {
  const [, name = 'nodes', ...rest] = location.hash.split('/');
  try {
    return [views[name] ? name : 'nodes', decodeURIComponent(rest.join('/'))];
  } catch {
    return ['nodes', ''];
  }
}

function hide() {
  if (!shown) return;
  clearTimeout(shown.timer);
  shown.leaving.abort();
  shown.view.close?.();
  shown = null;
}

function show() {
  if (!session) return;
  hide();
  const [name, argument] = route();
  const view = views[name]({ argument, session, refresh });
  shown = { view, leaving: new AbortController(), timer: 0, busy: false };
  for (const link of byId('views').children) {
    if (link.dataset.view === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = `${argument || view.title} – midplane console`;
  byId('view').replaceChildren(...view.elements);
  complain('');
  (byId('view').querySelector('[data-first]') ?? byId('view')).focus({ preventScroll: true });
  scrollTo(0, 0);
  refresh();
}

/** Asks now, and again after the view's interval; not while nobody looks. */
async function refresh() {
  const current = shown;
  if (!current?.view.load || current.busy) return;
  clearTimeout(current.timer);
  current.busy = true;
  let next = current.view.every;
  try {
    current.view.draw(await current.view.load(current.leaving.signal));
    if (shown !== current) return;
    complain('');
    state('live');
  } catch (error) {
    if (shown !== current) return;
    if (error.kind === 'key') return lock(error.message);
    next = failed(error, next);
  } finally {
    current.busy = false;
  }
  if (document.hidden) return state('paused');
  current.timer = setTimeout(refresh, next);
}

/** Says what is wrong; when to ask again. */
function failed(error, every) {
  if (!(error instanceof Trouble)) throw error;
  if (error.kind === 'refused') {
    state('live');
    complain(error.message);
    return every;
  }
  const wait = Math.max(RETRY_MILLISECONDS, error.wait * 1000);
  state('trouble', error.kind === 'rate' ? 'waiting' : 'no answer');
  complain(`${error.message} Trying again${error.wait ? ` in ${error.wait} s` : ''}; what is shown may be old.`);
  return wait;
}

document.addEventListener('visibilitychange', () => {
  if (!shown) return;
  if (document.hidden) {
    clearTimeout(shown.timer);
    state('paused');
  } else {
    refresh();
  }
});
addEventListener('hashchange', show);

byId('leave').addEventListener('click', () => lock());
byId('find').addEventListener('submit', event => {
  event.preventDefault();
  const name = byId('name').value.trim();
  const pattern = byId('kind').value === 'channel' && /[*?{[]/.test(name);
  location.hash = pattern ? place('channels', name) : place(byId('kind').value, name);
  byId('name').blur();
});
listen({ refresh, watch: () => shown?.view.watch?.() });
open();
