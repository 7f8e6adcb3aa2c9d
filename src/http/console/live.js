// Watching live: lines of JSON over one request, begun anew where it breaks off.
import { credentials, refusal } from './ask.js';
import { h, linkTo } from './dom.js';
import { clock, plural } from './words.js';

/** Lines that stay. */
const MOST = 300;
const RETRY_MILLISECONDS = 2000;

/** The panel of what happens to `subject`: `{ channel }` or `{ user }`. */
export class LivePanel {
  constructor(subject) {
    this.subject = subject;
    this.stopping = null;
    this.log = h('ol', { class: 'log', role: 'log', 'aria-label': 'What happens', tabindex: 0 });
    this.button = h('button', { type: 'button', 'aria-pressed': 'false', title: 'w', onclick: () => this.toggle() }, 'Watch live');
    this.element = h('section', { hidden: true },
      h('div', { class: 'actions' }, h('h3', {}, 'Live'),
        h('button', { type: 'button', class: 'small', onclick: () => this.log.replaceChildren() }, 'Clear')),
      this.log);
  }

  toggle() {
    if (this.stopping) return this.stop();
    this.element.hidden = false;
    this.shown(true);
    this.stopping = new AbortController();
    this.follow(this.stopping.signal);
  }

  stop() {
    if (!this.stopping) return;
    this.stopping.abort();
    this.stopping = null;
    this.shown(false);
    this.note('stopped watching');
  }

  shown(on) {
    this.button.textContent = on ? 'Stop watching' : 'Watch live';
    this.button.setAttribute('aria-pressed', on);
  }

  async follow(signal) {
    while (!signal.aborted) {
      let wait = RETRY_MILLISECONDS;
      try {
        await this.read(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error.kind === 'refused' || error.kind === 'key') {
          this.stop();
          return this.note(error.message, 'bad');
        }
        wait = Math.max(wait, (error.wait ?? 0) * 1000);
        this.note(`${error.kind ? error.message : 'The node cannot be reached.'} Trying again; what happens meanwhile is not seen.`, 'bad');
      }
      await new Promise(done => setTimeout(done, wait));
    }
  }

  /** Reads lines until there are no more. */
  async read(signal) {
    const response = await fetch('/console/watch', {
      method: 'POST', cache: 'no-store', signal, body: JSON.stringify(this.subject),
      headers: { ...credentials(), 'content-type': 'application/json' },
    });
    if (!response.ok) throw refusal(response, await response.json().catch(() => null));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      lines.filter(Boolean).forEach(line => this.take(JSON.parse(line)));
    }
  }

  take(line) {
    if (line.watching) return this.note(`watching at ${line.node}`, 'good');
    if (line.seen) return this.add(new Date(line.seen.at), SEEN[line.seen.event]?.(line.seen) ?? [line.seen.event], kind(line.seen.event));
    if (line.pub) return this.add(new Date(), published(line.pub), 'pub');
    if (line.missed) return this.note(`${plural(line.missed, 'event')} missed: more happens than can be shown`, 'bad');
    if (line.end) return this.note(`the node ended it (${line.end}); beginning anew`, 'bad');
  }

  note(text, kind = '') {
    this.add(new Date(), [text], `note ${kind}`);
  }

  add(moment, content, kind) {
    this.log.prepend(h('li', { class: kind }, h('time', {}, clock(moment)), h('span', {}, content)));
    while (this.log.children.length > MOST) this.log.lastElementChild.remove();
  }
}

const client = ({ client, node }) => h('small', {}, ` ${client.slice(0, 8)} at ${node}`);
const SEEN = {
  connected: it => [linkTo('user', it.user), ` connected over ${it.transport}`, client(it)],
  closed: it => [linkTo('user', it.user), ` closed: ${it.code} ${it.reason}`, client(it)],
  subscribed: it => [linkTo('user', it.user), ' joined ', linkTo('channel', it.channel), client(it)],
  unsubscribed: it => [linkTo('user', it.user), ' left ', linkTo('channel', it.channel), client(it)],
  left: it => [linkTo('user', it.user), ` left, its connection closed: ${it.code} ${it.reason}`, client(it)],
};
const kind = event => ({ connected: 'good', subscribed: 'good', closed: 'bad' })[event] ?? '';

function published({ offset, data, info }) {
  const by = info ? [' by ', linkTo('user', info.user ?? '')] : [];
  return [offset ? `#${offset}` : 'published', by, ' ', h('code', { class: 'data' }, JSON.stringify(data))];
}
