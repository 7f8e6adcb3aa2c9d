// Elements without markup: text is only ever text.

/** An element with attributes, listeners (`onclick`) and children; what is null or false is left out. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : String(value));
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = id => document.getElementById(id);

/** Sets text only where it is another: selections and screen readers are left alone. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A list of terms and what they are. */
export class Facts {
  constructor(label) {
    this.element = h('dl', { class: 'facts', 'aria-label': label });
    this.known = new Map();
  }

  /** Each entry is a term, what it is, and where that is not plain, what the term means. */
  draw(entries) {
    for (const [term, value, about] of entries) {
      if (!this.known.has(term)) {
        const definition = h('dd');
        this.known.set(term, definition);
        this.element.append(h('div', { title: about }, h('dt', {}, term), definition));
      }
      write(this.known.get(term), value);
    }
  }
}

/** Where a channel or user is looked up. */
export const place = (kind, name) => `#/${kind}/${encodeURIComponent(name)}`;
export const linkTo = (kind, name) => h('a', { href: place(kind, name), class: 'name' }, name || '(anonymous)');
