// What the user has chosen. All of it is in the address, so a link holds the whole view.
import { count, el, quoted, shown } from './text.js';

const limits = ['10', '20', '50', '100', '200', '500', '1000'];
const defaults = { order: 'total', limit: '20' };
const themes = ['auto', 'light', 'dark'];

// Choice is what is shown, and how.
export class Choice {
  constructor(search) {
    const p = new URLSearchParams(search);
    this.metric = p.get('metric') ?? '';
    this.where = p.getAll('where');
    this.groupBy = p.getAll('group_by');
    this.order = p.get('order') ?? defaults.order;
    this.limit = p.get('limit') ?? defaults.limit;
    this.theme = themes.includes(p.get('theme')) ? p.get('theme') : 'auto';
    this.paused = p.get('paused') === '1';
  }

  // query is the query string.
  query() {
    const p = new URLSearchParams({ metric: this.metric });
    for (const text of this.where) p.append('where', text);
    for (const name of this.groupBy) p.append('group_by', name);
    if (this.order !== defaults.order) p.set('order', this.order);
    if (this.limit !== defaults.limit) p.set('limit', this.limit);
    return p.toString();
  }

  // keep writes it into the address.
  keep() {
    const p = new URLSearchParams(this.metric ? this.query() : '');
    if (this.theme !== 'auto') p.set('theme', this.theme);
    if (this.paused) p.set('paused', '1');
    history.replaceState(null, '', p.size ? `?${p}` : location.pathname);
  }

  nextTheme() {
    this.theme = themes[(themes.indexOf(this.theme) + 1) % themes.length];
  }
}

const byId = (id) => document.getElementById(id);

// Controls show a Choice, and change it.
export class Controls {
  // onChange is called when the query has changed.
  constructor(choice, onChange) {
    this.choice = choice;
    this.onChange = onChange;
    byId('metric').addEventListener('change', (event) => {
      Object.assign(choice, { metric: event.target.value, where: [], groupBy: [] });
      this.changed();
    });
    for (const name of ['order', 'limit']) {
      byId(name).addEventListener('change', (event) => {
        choice[name] = event.target.value;
        this.changed();
      });
    }
    byId('question').addEventListener('submit', (event) => {
      event.preventDefault();
      const text = byId('where').value.trim();
      if (text) this.filter(text);
      byId('where').value = '';
    });
    for (const head of document.querySelectorAll('th[data-order]')) this.sortable(head);
    this.show();
  }

  // sortable makes the head of a column choose the order.
  sortable(head) {
    const button = el('button', { type: 'button' }, head.textContent);
    button.addEventListener('click', () => {
      this.choice.order = head.dataset.order;
      this.changed();
    });
    head.replaceChildren(button);
  }

  changed() {
    this.choice.keep();
    this.show();
    this.onChange();
  }

  filter(text) {
    if (!this.choice.where.includes(text)) this.choice.where.push(text);
    this.changed();
  }

  // more shows more items.
  more() {
    this.choice.limit = limits.find((n) => Number(n) > Number(this.choice.limit)) ?? this.choice.limit;
    this.changed();
  }

  canShowMore() {
    return limits.some((n) => Number(n) > Number(this.choice.limit));
  }

  show() {
    const c = this.choice;
    byId('order').value = c.order;
    if (![...byId('limit').options].some((option) => option.value === c.limit)) byId('limit').append(el('option', null, c.limit));
    byId('limit').value = c.limit;
    for (const head of document.querySelectorAll('th[data-order]')) {
      if (head.dataset.order === c.order) head.setAttribute('aria-sort', 'descending');
      else head.removeAttribute('aria-sort');
    }
    byId('filters').replaceChildren(...c.where.map((text) => this.filterChip(text)));
    byId('filters').hidden = c.where.length === 0;
    byId('pause').setAttribute('aria-pressed', String(c.paused));
    byId('pause').textContent = c.paused ? 'Resume' : 'Pause';
    byId('theme').textContent = `Theme: ${c.theme}`;
    document.documentElement.dataset.theme = c.theme;
  }

  filterChip(text) {
    const remove = el('button', { type: 'button', class: 'chip' }, shown(text, 80), el('span', { class: 'cross', 'aria-hidden': 'true' }, '×'));
    remove.setAttribute('aria-label', `Remove the filter ${text.slice(0, 80)}`);
    remove.addEventListener('click', () => {
      this.choice.where = this.choice.where.filter((other) => other !== text);
      this.changed();
      byId('where').focus();
    });
    return remove;
  }

  // metrics offers what there is.
  metrics(list) {
    const options = list.map((m) => el('option', { value: m.name }, shown(m.name, 60).textContent + ` (${count(m.keys)} keys)`));
    if (this.choice.metric && !list.some((m) => m.name === this.choice.metric)) {
      options.unshift(el('option', { value: this.choice.metric }, `${shown(this.choice.metric, 60).textContent} (unknown)`));
    }
    const select = byId('metric');
    if (document.activeElement !== select || select.options.length !== options.length) select.replaceChildren(...options);
    select.value = this.choice.metric;
  }

  // attributes offers what to group and to filter by.
  attributes(list) {
    const all = [...list, ...this.choice.groupBy.filter((name) => !list.includes(name))];
    const wanted = JSON.stringify([all, this.choice.groupBy]);
    if (this.offered === wanted) return;
    this.offered = wanted;
    const at = [...byId('group-list').children].indexOf(document.activeElement);
    byId('group').hidden = all.length === 0;
    byId('references').replaceChildren(...list.map((name) => el('option', { value: `${quoted(name)}=` })));
    byId('group-list').replaceChildren(...all.map((name) => {
      const on = this.choice.groupBy.includes(name);
      const chip = el('button', { type: 'button', class: 'chip toggle', 'aria-pressed': String(on) }, shown(name, 60));
      chip.addEventListener('click', () => {
        this.choice.groupBy = on ? this.choice.groupBy.filter((other) => other !== name) : [...this.choice.groupBy, name];
        this.attributes(list);
        this.changed();
      });
      return chip;
    }));
    if (at >= 0) byId('group-list').children[at]?.focus();
  }
}
