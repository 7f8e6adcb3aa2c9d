// Publishing a test message.
import { Trouble, call } from '../ask.js';
import { h, linkTo } from '../dom.js';

/** What is wrong with a text as JSON; empty where nothing is. */
function wrong(text) {
  try {
    JSON.parse(text);
    return '';
  } catch (error) {
    return text.trim() ? `Not JSON: ${error.message}` : 'Data is missing.';
  }
}

export function publish({ argument }) {
  const channel = h('input', { id: 'to', required: true, maxlength: 255, value: argument, autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', 'data-first': !argument });
  const data = h('textarea', { id: 'data', rows: 6, required: true, spellcheck: 'false', 'aria-describedby': 'data-problem', 'data-first': Boolean(argument) }, '{"text": "test"}');
  const problem = h('p', { id: 'data-problem', class: 'problem', role: 'alert' });
  const skip = h('input', { id: 'skip', type: 'checkbox' });
  const send = h('button', { type: 'submit', class: 'primary' }, 'Publish');
  const outcome = h('div', { id: 'outcome', role: 'status' });

  const check = () => {
    problem.textContent = wrong(data.value);
    data.setAttribute('aria-invalid', problem.textContent !== '');
    return !problem.textContent;
  };
  const submit = async event => {
    event.preventDefault();
    const to = channel.value.trim();
    outcome.replaceChildren();
    if (!check() || send.disabled) return;
    send.disabled = true;
    try {
      outcome.replaceChildren(...done(to, await order(to, data.value, skip.checked)));
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      outcome.replaceChildren(h('p', { class: 'problem' }, `Not published: ${error.message}`));
    }
    send.disabled = false;
  };
  const form = h('form', { id: 'publish', class: 'card', onsubmit: submit },
    h('label', { for: 'to' }, 'Channel'), channel,
    h('label', { for: 'data' }, 'Data (JSON)'), data, problem,
    h('label', { class: 'check' }, skip, 'Deliver only: do not store it'),
    h('div', { class: 'actions' }, send, h('span', { class: 'hint' }, 'Ctrl+Enter')), outcome);
  data.addEventListener('input', check);
  form.addEventListener('keydown', event => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  return { title: 'Publish', elements: [h('h2', {}, 'Publish a test message'), form] };
}

/** The data goes as it was written: numbers stay what they are, also those that JavaScript cannot hold. */
function order(channel, data, skip) {
  return call('publish', `{"channel": ${JSON.stringify(channel)}, "data": ${data}, "skip_history": ${skip}}`);
}

function done(channel, { offset, epoch }) {
  const stored = offset ? `stored at offset ${offset}, epoch ${epoch}` : 'delivered, not stored';
  return [h('p', { class: 'good' }, 'Published to ', linkTo('channel', channel), `: ${stored}.`)];
}
