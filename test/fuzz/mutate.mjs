// Untrusted inputs: valid documents with small or large mutations. Everything follows from a seed.

/** mulberry32 */
export function random(seed) {
  let state = seed | 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (below) => Math.floor(next() * below);
  return { next, int, pick: (list) => list[int(list.length)], chance: (p) => next() < p };
}

/** Returns the seed of an iteration of a target, so that it can be repeated alone. */
export function seedOf(seed, name, iteration) {
  let hash = 0x811c9dc5;
  for (const c of `${seed}/${name}/${iteration}`)
    hash = Math.imul(hash ^ c.charCodeAt(0), 0x01000193);
  return hash;
}

const NUMBERS = [
  0, -0, 1, -1, 0.5, 1.5, 255, 256, 65_535, 65_536, 1e9, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 32,
  2 ** 53 - 1, 2 ** 53, -(2 ** 53), 2 ** 63, 2 ** 64, 1e21, 1e308, -1e308, 5e-324, 1e-7,
]; // prettier-ignore
const TEXTS = [
  '', ' ', '\0', '\ud800', '\udc00', '\ufeff', '\u2028', '😀', 'e\u0301', '\r\n', '"', '\\', "'", '%00', '%s',
  '../../etc/passwd', 'null', 'NaN', '-1', '1e999', '0x10', '__proto__', 'constructor', 'prototype', 'toString',
  'hasOwnProperty', 'valueOf', 'toJSON', '$ref', 'then', 'auto', '(a+)+$', 'x'.repeat(65), 'x'.repeat(300),
]; // prettier-ignore
const KEYS = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'toJSON',
  'valueOf',
  'length',
  'then',
  '',
];
const SNIPPETS = [
  'null', 'true', '1e999', '-1e999', '-0', '00', '1.', '9007199254740993', '{', '}', '[', ']', ',', ':', '"', '\\',
  '\\u0000', '\\ud800', '\\u005f_proto__', '"__proto__":{"polluted":1},', '"constructor":{"prototype":{"polluted":1}},',
  '\n', '\r\n', '\0', '\ufeff', '\u2028', '//', '/*', 'NaN', 'undefined',
].map((text) => Buffer.from(text)); // prettier-ignore

/** Mutates the bytes of seeds: flips, cuts, splices, tokens, and extreme numbers where a format may have lengths. */
export function bytes(seeds, dictionary = []) {
  const tokens = [...SNIPPETS, ...dictionary.map((token) => Buffer.from(token))];
  return (r) => bend(r, Buffer.from(r.pick(seeds)), seeds, tokens);
}

function bend(r, start, seeds, tokens) {
  let at = start;
  for (let left = 1 + r.int(4); left > 0; left--)
    at = BYTES[r.int(BYTES.length)](r, at, seeds, tokens);
  return at;
}

const place = (r, { length }) => r.int(length + 1);
const join = (at, from, to, between) =>
  Buffer.concat([at.subarray(0, from), between, at.subarray(to)]);
const EXTREMES = [0n, 1n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0xffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn, 2n ** 53n,
  2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]; // prettier-ignore

const BYTES = [
  (r, at) => {
    for (let n = 1 + r.int(3); n > 0 && at.length > 0; n--) at[r.int(at.length)] ^= 1 << r.int(8);
    return at;
  },
  (r, at) => {
    if (at.length > 0) at[r.int(at.length)] = r.int(256);
    return at;
  },
  (r, at) => at.subarray(0, place(r, at)),
  (r, at) => {
    const from = place(r, at);
    return join(at, from, Math.min(at.length, from + 1 + r.int(16)), Buffer.alloc(0));
  },
  (r, at, _seeds, tokens) => {
    const from = place(r, at);
    return join(
      at,
      from,
      r.chance(0.5) ? from : Math.min(at.length, from + r.int(8)),
      r.pick(tokens),
    );
  },
  (r, at, seeds) => {
    const other = Buffer.from(r.pick(seeds));
    return Buffer.concat([at.subarray(0, place(r, at)), other.subarray(place(r, other))]);
  },
  (r, at) => {
    const from = place(r, at);
    const part = at.subarray(from, from + 1 + r.int(32));
    const times = Math.min(r.pick([1, 2, 20, 300]), Math.ceil(20_000 / (part.length + 1)));
    return join(at, from, from, Buffer.concat(Array(times).fill(part)));
  },
  // a length or count
  (r, at) => {
    const width = r.pick([1, 2, 4, 8]);
    if (at.length < width) return at;
    const value = BigInt.asUintN(width * 8, r.pick(EXTREMES));
    const where = r.int(at.length - width + 1);
    for (let i = 0; i < width; i++) at[where + i] = Number((value >> BigInt(8 * i)) & 0xffn);
    return at;
  },
];

/** Mutates JSON values: first their structure, sometimes also their text. */
export function json(seeds, { keys = [], values = [] } = {}) {
  const names = [...KEYS, ...keys];
  const texts = seeds.map((seed) => Buffer.from(JSON.stringify(seed)));
  const tokens = [...SNIPPETS, ...keys.map((key) => Buffer.from(`"${key}":1,`))];
  return (r) => {
    const holder = [structuredClone(r.pick(seeds))];
    for (let left = r.int(4); left > 0; left--) reshape(r, holder, { names, values, seeds });
    let text = JSON.stringify(holder[0]) ?? 'null';
    if (r.chance(0.02)) text = nest(r, text);
    const at = Buffer.from(text);
    return r.chance(0.25) ? bend(r, at, texts, tokens) : at;
  };
}

function nest(r, text) {
  const depth = r.pick([10, 63, 64, 65, 500, 20_000]);
  const [open, close] = r.pick([['[', ']'], ['{"a":', '}']]); // prettier-ignore
  const deep = open.repeat(depth) + '1' + (r.chance(0.7) ? close.repeat(depth) : '');
  return text.replace(/\d+(?=[,}\]])/, () => deep);
}

function places(holder) {
  const found = [];
  const walk = (value) => {
    if (value === null || typeof value !== 'object' || found.length > 2000) return;
    for (const key of Object.keys(value)) {
      found.push([value, key]);
      walk(value[key]);
    }
  };
  walk(holder);
  return found;
}

function junk(r, values) {
  switch (r.int(8)) {
    case 0:
    case 1:
      return r.pick(NUMBERS);
    case 2:
    case 3:
      return r.pick(TEXTS);
    case 4:
      return r.pick([null, true, false]);
    case 5:
      return r.pick([[], {}, [[]], [null], [{}], { a: 1 }, Array(70).fill(1), Array(5).fill('x')]);
    default:
      return values.length > 0 ? structuredClone(r.pick(values)) : r.pick(TEXTS);
  }
}

/** Sets an own key of any name. */
function set(object, key, value) {
  if (Array.isArray(object) && !/^\d+$/.test(key)) object.push(value);
  else Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true }); // prettier-ignore
}

function reshape(r, holder, { names, values, seeds }) {
  const [object, key] = r.pick(places(holder));
  const old = object[key];
  const inside = old !== null && typeof old === 'object';
  switch (r.int(9)) {
    case 0:
    case 1:
      return set(object, key, junk(r, values));
    case 2:
      if (object === holder) return;
      return Array.isArray(object) ? object.splice(Number(key), 1) : delete object[key];
    case 3:
      return set(
        inside ? old : object,
        r.pick(names),
        r.chance(0.3) ? { polluted: 1 } : junk(r, values),
      );
    case 4: {
      const [from, name] = r.pick(places([structuredClone(r.pick(seeds))]));
      return set(object, key, from[name]);
    }
    case 5:
      if (object === holder) return;
      set(object, r.pick(names), old);
      return r.chance(0.5) ? delete object[key] : undefined;
    case 6:
      return set(object, key, Array(r.pick([1, 2, 5, 70, 300])).fill(old).map((each) => structuredClone(each))); // prettier-ignore
    case 7:
      if (typeof old === 'string') return set(object, key, respell(r, old));
      return typeof old === 'number' ? set(object, key, r.pick([-old, old * 2, old + 0.5, old * 1e9])) : undefined; // prettier-ignore
    default:
      return set(object, key, r.pick([JSON.stringify(old), [old], { [r.pick(names)]: old }]));
  }
}

function respell(r, text) {
  const at = r.int(text.length + 1);
  return r.pick([
    text.slice(0, at),
    text.slice(0, at) + r.pick(TEXTS) + text.slice(at),
    text + text,
    text.toUpperCase(),
    text.repeat(Math.min(500, Math.ceil(10_000 / (text.length + 1)))),
  ]);
}

/** Splits bytes into chunks of random sizes, as a network does. */
export function* cut(r, at) {
  const most = r.pick([1, 7, 100, 1 << 20]);
  if (most === 1 && at.length > 2000) return yield at;
  for (let from = 0; from < at.length;) {
    const to = from + 1 + r.int(most);
    yield at.subarray(from, to);
    from = to;
  }
}
