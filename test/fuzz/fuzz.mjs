// Runs a parser on inputs and reports what no parser may do: throw an undocumented error, take too long or too much
// memory, never settle, or change a prototype.
import { DomainError } from '@graft/contracts';
import { setTimeout as sleep } from 'node:timers/promises';
import { random, seedOf } from './mutate.mjs';

const MOST_SECONDS = 1;
const MOST_BYTES = 512 * 2 ** 20;
const SETTLED_MS = 60_000;
const LONGEST_MESSAGE = 5000;

const OWN = [Object.prototype, Array.prototype, Function.prototype].map((object) => [
  object,
  Object.getOwnPropertyNames(object).length,
]);

/**
 * @param target `make` returns an input, `run` parses it, `refusal` describes what is wrong with an error, or returns
 * null for a documented rejection; `refused` whether the result of `run` is a rejection; `seconds` and `memory` limit
 * one input
 * @param each called before every input
 */
export async function fuzz(target, { seed, iterations, seconds, at, each = () => undefined }) {
  const { name } = target;
  const counts = { name, iterations: 0, accepted: 0, refused: 0, findings: 0, first: new Map() };
  const end = performance.now() + seconds * 1000;
  const last = at === undefined ? iterations : at + 1;
  for (let iteration = at ?? 0; iteration < last && performance.now() < end; iteration++) {
    each(iteration);
    const attempt = () => {
      const r = random(seedOf(seed, name, iteration));
      const input = target.make(r);
      return once(target, input, r);
    };
    let { input, outcome, problem } = await attempt();
    // The garbage of earlier inputs may be the cause.
    if (problem?.startsWith('took')) ({ input, outcome, problem } = await attempt());
    counts.iterations++;
    if (problem === null) counts[outcome]++;
    else note(counts, { iteration, problem, input });
  }
  return counts;
}

/** Only the first of similar findings is shown. */
function note(counts, { iteration, problem, input }) {
  counts.findings++;
  const kind = problem.replaceAll(/\d+|"[^]*/g, '');
  if (counts.first.size < 20 && !counts.first.has(kind))
    counts.first.set(kind, { iteration, problem, input: shown(input) });
}

async function once(target, input, r) {
  const { refusal = domainRefusal, refused = () => false } = target;
  const { seconds = MOST_SECONDS, memory = MOST_BYTES } = target;
  const rss = process.memoryUsage.rss();
  const cpu = process.cpuUsage();
  let outcome = 'accepted';
  let problem;
  try {
    const running = target.run(input, r);
    const value = running instanceof Promise ? await settled(running) : running;
    if (refused(value)) outcome = 'refused';
    problem = tainted(value);
  } catch (error) {
    outcome = 'refused';
    problem = refusal(error);
  }
  const { user, system } = process.cpuUsage(cpu);
  const taken = process.memoryUsage.rss() - rss;
  if ((user + system) / 1e6 > seconds) problem ??= `took ${(user + system) / 1e6} s`;
  if (taken > memory) problem ??= `took ${taken} bytes of memory`;
  for (const [object, length] of OWN)
    if (Object.getOwnPropertyNames(object).length !== length || 'polluted' in object)
      throw new Error(`${target.name} changed a prototype: ${shown(input)}`);
  return { input, outcome, problem };
}

async function settled(promise) {
  const over = new AbortController();
  const late = sleep(SETTLED_MS, 'late', { signal: over.signal }).catch(() => undefined);
  try {
    if ((await Promise.race([promise, late])) === 'late') throw new Error('it never settled');
    return await promise;
  } finally {
    over.abort();
  }
}

/** Whether a result inherits from the input. */
function tainted(value) {
  const seen = new Set();
  const walk = (inner) => {
    if (inner === null || typeof inner !== 'object' || seen.has(inner) || seen.size > 500)
      return false;
    seen.add(inner);
    if (!Object.hasOwn(inner, 'polluted') && inner.polluted !== undefined) return true;
    return Object.values(inner).some(walk);
  };
  return walk(value) ? 'the result inherits from the input' : null;
}

/** Returns null for a DomainError with a client's code that names the place. */
export function domainRefusal(error) {
  if (!(error instanceof DomainError)) return `threw ${error?.stack ?? String(error)}`;
  const { message, param, status } = error;
  if (status >= 500) return `rejected with ${status}: ${message}`;
  if (message === '') return 'rejected without a message';
  if (!message.isWellFormed())
    return `rejected with an unpaired surrogate in the message: ${message}`;
  if (message.length > LONGEST_MESSAGE)
    return `rejected with a message of ${message.length} characters`;
  if (
    /\bundefined\b.*\breading\b|is not a function|is not iterable|\[object Object\]/.test(message)
  )
    return `rejected with a message of the JavaScript engine: ${message}`;
  if (param !== null && (param === '' || param.length > 300))
    return `rejected with param "${param}"`;
  return null;
}

/** Rejections of parsers that throw plain Errors, which the caller names. `kinds`: other documented error classes. */
export const plainRefusal =
  (...kinds) =>
  (error) => {
    const { constructor, message = '' } = error ?? {};
    if (constructor !== Error && !kinds.includes(constructor)) return domainRefusal(error);
    if (message === '' || message.length > LONGEST_MESSAGE)
      return `rejected with a message of ${message.length} characters`;
    return null;
  };

const shown = (input) => {
  const plain = (value) => (Buffer.isBuffer(value) ? value.toString('latin1') : value);
  const text = Array.isArray(input)
    ? JSON.stringify(input.map(plain))
    : JSON.stringify(plain(input));
  return text.length > 3000 ? `${text.slice(0, 3000)}… (${text.length})` : text;
};
