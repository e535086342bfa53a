// How things are written. Whatever comes from logs becomes text nodes, never markup.

// Characters that are not seen, or that change how others are: they are shown by their number.
const unseen = /[\p{C}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0]/u;

// el makes an element; what is no element among its children becomes text.
export function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === true) node.setAttribute(key, '');
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// quoted returns a reference to an attribute as a condition takes it.
export const quoted = (reference) => /^[^"!=~]+$/.test(reference) ? reference : JSON.stringify(reference);

const svgNamespace = 'http://www.w3.org/2000/svg';

export function svg(name, attributes) {
  const node = document.createElementNS(svgNamespace, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function escaped(character) {
  const names = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
  const code = character.codePointAt(0);
  return names[character] ?? (code > 0xffff ? `\\u{${code.toString(16)}}` : '\\u' + code.toString(16).padStart(4, '0'));
}

// shown returns text as it may be shown: by itself as far as direction goes, and with what is unseen escaped. At most longest
// characters of it, if that is given.
export function shown(text, longest) {
  const out = el('bdi');
  const all = Array.from(text);
  const list = longest && all.length > longest ? all.slice(0, longest) : all;
  let plain = '';
  const flush = () => {
    if (plain !== '') out.append(plain);
    plain = '';
  };
  for (const character of list) {
    if (!unseen.test(character)) {
      plain += character;
      continue;
    }
    flush();
    out.append(el('span', { class: 'escape' }, escaped(character)));
  }
  flush();
  if (list.length < all.length) out.append(el('span', { class: 'cut' }, `… ${all.length.toLocaleString('en')} characters`));
  return out;
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
// keys writes how many keys a sum is of.
export function keys(sum, other = '') {
  const some = (n, what) => `${count(n)} ${other}${what}${n === 1 ? '' : 's'}`;
  if (!sum.overflow_keys) return some(sum.keys, 'key');
  return (sum.keys ? `${some(sum.keys, 'key')} and ` : '') + some(sum.overflow_keys, 'overflow key');
}

const precise = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

// count writes a whole number; one that JavaScript cannot hold exactly is marked.
export function count(n) {
  if (n == null) return '–';
  return (Number.isSafeInteger(n) ? '' : '≈ ') + whole.format(n);
}

export function rate(n) {
  if (n == null) return '–';
  return n >= 100 ? whole.format(n) : precise.format(n);
}

export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

export function time(text) {
  return text ? new Date(text).toLocaleString('en', { dateStyle: 'medium', timeStyle: 'medium' }) : '–';
}

// spark draws numbers as a line into an svg element.
export function spark(node, numbers) {
  const width = 100;
  const height = 24;
  node.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const top = Math.max(...numbers, 1e-9);
  const step = width / Math.max(1, numbers.length - 1);
  const points = numbers.map((n, i) => `${(i * step).toFixed(1)},${(height - 1.5 - (n / top) * (height - 3)).toFixed(1)}`);
  if (points.length < 2) {
    node.replaceChildren();
    return;
  }
  if (node.childElementCount !== 2) {
    node.replaceChildren(svg('polygon', { class: 'area' }), svg('polyline', { class: 'line', 'vector-effect': 'non-scaling-stroke' }));
  }
  node.firstChild.setAttribute('points', `0,${height} ${points.join(' ')} ${width},${height}`);
  node.lastChild.setAttribute('points', points.join(' '));
}
