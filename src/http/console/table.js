// A table that is drawn again and again: rows keep their place in the document, and only what changed is touched.
import { h } from './dom.js';

export class Table {
  /**
   * `columns`: `{ title, cell, number, about }`, where `cell(row)` is a text, an element or null. `keyOf(row)` tells rows apart.
   * On narrow screens each row is a card; the first cell is its title.
   */
  constructor(label, columns, keyOf, empty) {
    this.columns = columns;
    this.keyOf = keyOf;
    this.rows = new Map();
    const titles = columns.map(({ title, number, about }) => h('th', { scope: 'col', role: 'columnheader', class: number && 'number', title: about }, title));
    this.body = h('tbody', { role: 'rowgroup' });
    this.table = h('table', { role: 'table', 'aria-label': label },
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, titles)), this.body);
    this.nothing = h('p', { class: 'empty' }, empty);
    this.element = h('div', { class: 'table' }, this.table, this.nothing);
    this.draw([]);
  }

  draw(rows) {
    const gone = new Set(this.rows.keys());
    let before = null;
    for (const row of rows) {
      const key = this.keyOf(row);
      gone.delete(key);
      const line = this.rows.get(key) ?? this.add(key);
      this.fill(line, row);
      const place = before ? before.nextElementSibling : this.body.firstElementChild;
      if (line !== place) this.body.insertBefore(line, place);
      before = line;
    }
    for (const key of gone) {
      this.rows.get(key).remove();
      this.rows.delete(key);
    }
    this.table.hidden = rows.length === 0;
    this.nothing.hidden = rows.length > 0;
  }

  add(key) {
    const cells = this.columns.map(({ title, number }) =>
      h('td', { role: 'cell', 'data-label': title, class: number && 'number' }));
    const line = h('tr', { role: 'row', 'data-key': key }, cells);
    this.rows.set(key, line);
    return line;
  }

  fill(line, row) {
    this.columns.forEach(({ cell }, index) => {
      const content = cell(row) ?? '';
      const place = line.cells[index];
      const same = typeof content === 'string' ? !place.firstElementChild && place.textContent === content : place.firstElementChild?.isEqualNode(content);
      if (!same) place.replaceChildren(content);
    });
  }
}
