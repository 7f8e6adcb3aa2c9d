// Questions, help and short words in between.
import { byId, h } from './dom.js';

let fading = 0;

/** Says that something was done. */
export function toast(text) {
  const element = byId('toast');
  element.textContent = text;
  element.hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => (element.hidden = true), 6000);
}

/** Asks before something is done; resolves to whether it may be. Escape is no. */
export function confirm({ title, text, action }) {
  return new Promise(resolve => {
    const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'dialog-title', 'aria-describedby': 'dialog-text' },
      h('h2', { id: 'dialog-title' }, title),
      h('p', { id: 'dialog-text' }, text),
      h('div', { class: 'actions' },
        h('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, 'Cancel'),
        h('button', { type: 'button', class: 'danger', onclick: () => dialog.close('yes') }, action)));
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Shows the keys; a second time hides them. */
export function help(keys) {
  const open = byId('keys');
  if (open) return open.close();
  const rows = keys.map(([key, text]) => [h('dt', {}, ...key.split(' ').map(each => h('kbd', {}, each))), h('dd', {}, text)]);
  const dialog = h('dialog', { id: 'keys', class: 'dialog', 'aria-labelledby': 'keys-title' },
    h('h2', { id: 'keys-title' }, 'Keyboard'),
    h('dl', { class: 'keys' }, rows),
    h('div', { class: 'actions' }, h('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, 'Close')));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
