// The page: it asks the server that it came from, and no other.
import { Choice, Controls } from './controls.js';
import { Table, valueOf } from './table.js';
import { count, duration, el, keys, rate, shown, spark, time } from './text.js';

const byId = (id) => document.getElementById(id);
const retryAfter = 2000; // milliseconds
const metricsEvery = 10000;
const trend = { number: 0, rates: [] };

const choice = new Choice(location.search);
let stream = null;
let timer = 0;
let metric = null; // as the last answer has it
let status = null;

const controls = new Controls(choice, () => {
  table.clear();
  Object.assign(trend, { number: 0, rates: [] });
  byId('overflow').open = false;
  byId('overflow-rows').replaceChildren();
  watch();
});
const table = new Table((text) => controls.filter(text));

// --- asking

async function get(path) {
  const response = await fetch(path, { headers: { Accept: 'application/json' } });
  return { ok: response.ok, body: await response.json() };
}

async function loadMetrics() {
  try {
    const { ok, body } = await get('api/v1/metrics');
    if (!ok) return;
    if (!choice.metric && body.metrics.length > 0) {
      const first = body.metrics.toSorted((a, b) => (b.sum.rate_10s ?? 0) - (a.sum.rate_10s ?? 0) || b.sum.total - a.sum.total)[0];
      choice.metric = first.name;
      choice.keep();
      watch();
    }
    controls.metrics(body.metrics);
    if (!choice.metric) {
      showStatus(body.status);
      showEmpty('Nothing has been counted yet. Totals appear here when records are counted.');
      later(loadMetrics);
    }
  } catch {
    disconnected();
    if (!choice.metric) later(loadMetrics);
  }
}

function later(what) {
  clearTimeout(timer);
  timer = setTimeout(what, retryAfter);
}

// watch shows what is chosen, now and whenever it changes.
function watch() {
  stream?.close();
  stream = null;
  clearTimeout(timer);
  if (!choice.metric) return;
  if (choice.paused) {
    once();
    return;
  }
  const mine = new EventSource(`api/v1/live?${choice.query()}`);
  stream = mine;
  mine.addEventListener('totals', (event) => show(JSON.parse(event.data)));
  mine.addEventListener('status', (event) => showStatus(JSON.parse(event.data)));
  mine.addEventListener('problem', (event) => showProblem(JSON.parse(event.data)));
  mine.addEventListener('error', () => {
    if (mine !== stream) return;
    disconnected();
    if (mine.readyState !== EventSource.CLOSED) return; // it tries again by itself
    stream = null;
    once().then(() => {
      if (!stream && !choice.paused) later(watch);
    });
  });
}

// once asks a single time.
async function once() {
  const query = choice.query();
  try {
    const { ok, body } = await get(`api/v1/totals?${query}`);
    if (query !== choice.query()) return;
    if (ok) show(body);
    else showProblem(body);
  } catch {
    disconnected();
  }
}

async function loadOverflow() {
  const asked = choice.metric;
  const { ok, body } = await get(`api/v1/overflow?${new URLSearchParams({ metric: asked, limit: 50 })}`);
  if (!ok || asked !== choice.metric) return;
  byId('overflow-since').textContent = body.since ? `Since ${time(body.since)}, when the store began to record overflows:` : '';
  const none = body.supported ? 'The store has recorded no overflow.' : 'This store does not record overflows.';
  byId('overflow-rows').replaceChildren(...(body.items.length ? body.items.map((item) => el('tr', null,
    el('th', { scope: 'row' }, ...(item.labels.length ? item.labels.map((label) => el('span', { class: 'label' },
      el('span', { class: 'name' }, shown(label.name, 60)), '=', el('span', { class: 'text' }, valueOf(label, 80)))) : [shown(item.key, 120)])),
    el('td', { class: 'number' }, count(item.estimate)), el('td', { class: 'number' }, count(item.max_error))))
    : [el('tr', null, el('td', { colspan: '3' }, none))]));
}

// --- showing

function show(answer) {
  byId('problem').hidden = true;
  metric = answer.metric;
  showStatus(answer.status);
  controls.attributes(answer.attributes);
  table.show(answer);
  byId('caption').replaceChildren(shown(metric.name, 120));
  byId('description').replaceChildren(shown(metric.description, 300));
  byId('sum-total').textContent = count(answer.sum.total);
  byId('sum-unit').replaceChildren(shown(metric.unit.replace(/^\{([^{}]*)\}$/, '$1'), 40));
  byId('sum-rate').textContent = (answer.sum.keys_not_tracked ? '≥ ' : '') + rate(answer.sum.rate_10s);
  byId('sum-keys').textContent = count(answer.sum.keys);
  byId('sum-limit').textContent = [
    metric.cardinality_limit ? `${count(metric.keys)} of ${count(metric.cardinality_limit)} that the metric may have`
      : choice.where.length ? `of ${count(metric.keys)}` : '',
    answer.sum.overflow_keys ? `and ${keys({ keys: 0, overflow_keys: answer.sum.overflow_keys })}` : '',
  ].filter(Boolean).join(', ');
  if (trend.number !== answer.status.number) {
    trend.number = answer.status.number;
    trend.rates = [...trend.rates, answer.sum.rate_10s ?? 0].slice(-60);
    spark(byId('sum-spark'), trend.rates);
  }
  byId('more').hidden = answer.rest.items === 0 || !controls.canShowMore();
  byId('overflow').hidden = !metric.full && !metric.overflow_keys;
  if (answer.items.length > 0) byId('empty').hidden = true;
  else showEmpty(choice.where.length ? 'No key meets all filters.' : 'Nothing is counted under this metric yet.');
}

function showEmpty(text) {
  byId('empty').textContent = text;
  byId('empty').hidden = false;
}

function showProblem(problem) {
  const list = problem.allowed.slice(0, 40).map((text) => el('li', null, shown(text, 400)));
  byId('problem').replaceChildren(el('p', null, shown(problem.error, 400)), ...(list.length ? [el('p', null, 'Allowed:'), el('ul', null, ...list)] : []));
  byId('problem').hidden = false;
  setState('problem', 'No answer to this query');
}

const states = {
  ok: 'Live', starting: 'Waiting for the first totals', partial: 'The store lists a part', away: 'The store is away', lost: 'No connection, trying again',
};

function setState(state, text) {
  const chip = byId('state');
  if (chip.dataset.state !== state) byId('announce').textContent = text;
  chip.dataset.state = state;
  byId('state-text').textContent = text;
}

function disconnected() {
  setState('lost', states.lost);
}

function showStatus(s) {
  status = s;
  const state = choice.paused && s.state === 'ok' ? 'paused' : s.state;
  const age = s.taken ? ` · ${duration(s.age_seconds)} old` : '';
  setState(state, (choice.paused ? 'Paused' : states[s.state]) + age);
  showNotes();
}

// showNotes says what is out of order.
function showNotes() {
  const notes = [];
  if (status.state === 'away') {
    notes.push(['bad', `The store is away: this is what it had ${duration(status.age_seconds)} ago. ${status.error ?? ''}`]);
  } else if (status.state === 'partial') {
    notes.push(['bad', `The store does not list everything: some of this is older than it looks. ${status.error ?? ''}`]);
  }
  if (metric?.full) {
    notes.push(['warn', metric.cardinality_limit
      ? `The limit of ${count(metric.cardinality_limit)} keys is full: further keys are counted together, under otel.metric.overflow. Totals are exact all the same.`
      : 'Some keys are counted together, under otel.metric.overflow. Totals are exact all the same.']);
  } else if (metric?.overflow_keys) {
    notes.push(['warn', 'Keys beyond the limit, or longer than key_length_limit, were counted together, under otel.metric.overflow. Totals are exact all the same.']);
  }
  if (status.rate_limit_reached) {
    notes.push(['warn', `More keys grow than have rates (max_tracked_keys: ${count(status.max_tracked_keys)}); ${count(status.keys_not_tracked)} have none.`]);
  }
  const text = JSON.stringify(notes.map(([kind, note]) => kind + note.replace(/\d+(\.\d+)? (s|min|h) ago/, '')));
  if (showNotes.text === text) {
    notes.forEach(([, note], i) => { byId('notes').children[i].textContent = note; });
    return;
  }
  showNotes.text = text;
  byId('notes').replaceChildren(...notes.map(([kind, note]) => el('p', { class: `banner ${kind}` }, note)));
}

// --- acting

function togglePause() {
  choice.paused = !choice.paused;
  choice.keep();
  controls.show();
  if (status) showStatus(status);
  watch();
}

function changeTheme() {
  choice.nextTheme();
  choice.keep();
  controls.show();
}

const shortcuts = {
  p: togglePause, t: changeTheme, '?': () => byId('keys').showModal(),
  '/': () => byId('where').focus(), m: () => byId('metric').focus(), o: () => byId('order').focus(),
  g: () => byId('group-list').querySelector('button')?.focus(), j: () => table.step(1), k: () => table.step(-1),
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId('keys').open || event.target.matches('input, select, textarea')) return;
  const act = shortcuts[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
byId('pause').addEventListener('click', togglePause);
byId('theme').addEventListener('click', changeTheme);
byId('help').addEventListener('click', () => byId('keys').showModal());
byId('more').addEventListener('click', () => controls.more());
byId('overflow').addEventListener('toggle', () => { if (byId('overflow').open) loadOverflow().catch(disconnected); });
byId('overflow-again').addEventListener('click', () => loadOverflow().catch(disconnected));

loadMetrics();
setInterval(() => { if (!choice.paused && choice.metric) loadMetrics(); }, metricsEvery);
watch();
