// The table of totals. Rows stay the same elements for as long as their items are there, so that focus and what is open stay.
import { count, el, keys, quoted, rate, shown, spark, svg, time } from './text.js';

const longestValue = 80; // characters of a value in a row; all of it is in the details
const longestName = 60;
const points = 60; // of a trend

// idOf is the same for an item from one answer to the next.
const idOf = (item) => item.key ?? JSON.stringify(item.labels);

// condition is what asks for the keys that have the value of a label.
export function condition(label) {
  const scope = label.resource ? 'resource.' : /^(resource|attribute)\.|^$/.test(label.name) ? 'attribute.' : '';
  const name = quoted(scope + label.name);
  return label.text === '' ? `!${name}` : `${name}=${label.text}`; // the text is exact where a number of JavaScript is not
}

// valueOf is what a label shows.
export function valueOf(label, longest) {
  if (label.text === '') return el('i', null, 'none');
  // The text of a double, 200.0, says its kind; JavaScript's, 200, is the one of labels.
  const isDouble = typeof label.value === 'number' && /[.e]/.test(label.text);
  return shown(typeof label.value === 'string' ? label.value : isDouble ? String(label.value) : label.text, longest);
}

export class Table {
  // onFilter is called with the condition that a click on a value stands for.
  constructor(onFilter) {
    this.body = document.getElementById('rows');
    this.foot = document.getElementById('foot');
    this.rows = new Map();
    this.trends = new Map();
    this.onFilter = onFilter;
    this.body.addEventListener('keydown', (event) => this.arrow(event));
  }

  clear() {
    this.rows.clear();
    this.trends.clear();
    this.body.replaceChildren();
    this.foot.replaceChildren();
  }

  show(answer) {
    const focused = document.activeElement;
    const top = Math.max(1, ...answer.items.map((item) => item.total));
    const next = new Map();
    let at = this.body.firstChild;
    for (const item of answer.items) {
      const id = idOf(item);
      const row = this.rows.get(id) ?? this.make(item);
      next.set(id, row);
      this.update(row, item, top, this.trend(id, item.rate_10s, answer.status.number));
      for (const node of [row.main, row.details]) {
        if (node !== at) this.body.insertBefore(node, at);
        else at = at.nextSibling;
      }
    }
    for (const [id, row] of this.rows) {
      if (next.has(id)) continue;
      row.main.remove();
      row.details.remove();
      this.trends.delete(id);
    }
    this.rows = next;
    if (focused && focused !== document.activeElement && this.body.contains(focused)) focused.focus({ preventScroll: true });
    this.showFoot(answer);
  }

  // trend returns the rates of an item over the last snapshots.
  trend(id, now, number) {
    const known = this.trends.get(id) ?? { number: 0, rates: [] };
    if (known.number !== number) {
      known.number = number;
      known.rates = [...known.rates, now ?? 0].slice(-points);
      this.trends.set(id, known);
    }
    return known.rates;
  }

  make(item) {
    const open = el('button', { type: 'button', class: 'open', 'aria-expanded': 'false', 'aria-label': 'Details of this row' });
    const labels = item.labels.map((label) => this.label(label));
    const row = {
      total: el('td', { class: 'number total' }, el('span', { class: 'value' }), el('span', { class: 'bar', 'aria-hidden': 'true' })),
      rates: ['', ' wide', ' wide'].map((width) => el('td', { class: 'number' + width })),
      spark: svg('svg', { class: 'spark', 'aria-hidden': 'true', preserveAspectRatio: 'none' }),
    };
    row.mark = el('span', { class: 'mark', hidden: true });
    row.main = el('tr', null,
      el('th', { scope: 'row' }, el('div', { class: 'key' }, open,
        el('span', { class: 'labels' }, ...(labels.length ? labels : ['everything']), row.mark))),
      row.total, ...row.rates, el('td', { class: 'wide' }, row.spark));
    row.cell = el('td', { colspan: '6' });
    row.details = el('tr', { class: 'details', hidden: true }, row.cell);
    open.addEventListener('click', () => {
      row.details.hidden = !row.details.hidden;
      open.setAttribute('aria-expanded', String(!row.details.hidden));
      if (!row.details.hidden) this.fill(row);
    });
    return row;
  }

  label(label) {
    const overflow = label.name === 'otel.metric.overflow' && label.value === true;
    const name = shown(label.name, longestName);
    const node = el('button', { type: 'button', class: overflow ? 'label overflow' : 'label', title: 'Filter by this value' },
      el('span', { class: label.resource ? 'name resource' : 'name' }, name), '=', el('span', { class: 'text' }, valueOf(label, longestValue)));
    node.addEventListener('click', () => this.onFilter(condition(label)));
    return node;
  }

  update(row, item, top, trend) {
    row.item = item;
    row.total.firstChild.textContent = count(item.total);
    row.total.lastChild.style.setProperty('--part', String(item.total / top));
    row.mark.hidden = !item.overflow || item.key !== undefined; // the labels of a key say it
    row.mark.textContent = `with ${keys({ keys: 0, overflow_keys: item.overflow_keys })}`;
    row.mark.title = 'A part of this total was counted with other values, which are not known any more';
    const rates = [item.rate_10s, item.rate_1m, item.rate_5m];
    row.rates.forEach((cell, i) => {
      cell.textContent = item.keys_not_tracked === item.keys + item.overflow_keys ? '?' : (item.keys_not_tracked > 0 ? '≥ ' : '') + rate(rates[i]);
      cell.title = item.keys_not_tracked > 0 ? 'Keys without a rate are in it: max_tracked_keys others have one' : '';
    });
    spark(row.spark, trend);
    if (!row.details.hidden) this.fill(row);
  }

  // fill writes the details, unless somebody is in them.
  fill(row) {
    if (row.cell.contains(document.activeElement)) return;
    const item = row.item;
    const entry = (name, value) => el('div', null, el('dt', null, name), el('dd', null, value));
    row.cell.replaceChildren(el('div', { class: 'facts', tabindex: '0', role: 'group', 'aria-label': 'Details of this row' }, el('dl', null,
      ...item.labels.map((label) => entry(
        el('span', null, label.resource ? 'resource ' : '', shown(label.name)),
        valueOf(label))),
      entry('Keys', keys(item)),
      entry('Rates / s', `${rate(item.rate_10s)} in 10 s, ${rate(item.rate_1m)} in 1 min, ${rate(item.rate_5m)} in 5 min`),
      entry('First counted', time(item.first)), entry('Last counted', time(item.last)),
      ...(item.key ? [entry('Text', el('code', null, shown(item.key)))] : []))));
  }

  showFoot(answer) {
    const line = (title, s, kind) => el('tr', { class: kind }, el('th', { scope: 'row' }, title),
      el('td', { class: 'number' }, count(s.total)), el('td', { class: 'number' }, rate(s.rate_10s)),
      el('td', { class: 'number wide' }, rate(s.rate_1m)), el('td', { class: 'number wide' }, rate(s.rate_5m)), el('td', { class: 'wide' }));
    const things = (n, sum, other) => answer.group_by.length ? `${count(n)} ${other}groups` : keys(sum, other);
    const lines = [];
    if (answer.rest.items > 0) lines.push(line(things(answer.rest.items, answer.rest, 'other '), answer.rest, 'rest'));
    if (answer.items.length > 0) lines.push(line(`All ${things(answer.item_count, answer.sum, '')}`, answer.sum, 'sum'));
    this.foot.replaceChildren(...lines);
  }

  buttons() {
    return [...this.body.querySelectorAll('button.open')];
  }

  // step moves the focus by rows.
  step(by) {
    const all = this.buttons();
    const row = document.activeElement?.closest('tr');
    const at = all.findIndex((button) => button.closest('tr') === row);
    (all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by))])?.focus();
  }

  arrow(event) {
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp' || !event.target.matches('button')) return;
    event.preventDefault();
    this.step(event.key === 'ArrowDown' ? 1 : -1);
  }
}
