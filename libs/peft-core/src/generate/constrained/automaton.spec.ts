import { expect, it } from 'vitest';
import { Automaton, MemoryBudget } from './automaton.js';
import { Constraints, type Constraint } from './constraint.js';
import { EVERY_BYTE } from './grammar.js';
import { schemaGrammar } from './schema-grammar.js';

/** All words of a and b with up to 10 letters. Each leads to another state of the pattern. */
const WORDS = Array.from({ length: 10 }, (_, i) => i + 1).flatMap((length) =>
  Array.from({ length: 2 ** length }, (_, n) =>
    n.toString(2).padStart(length, '0').replaceAll('0', 'a').replaceAll('1', 'b'),
  ),
);
const TOKENS = [...WORDS, '"', '{', '}', ':', ' ', '</s>'].map((word) =>
  new TextEncoder().encode(word),
);
const vocabulary = {
  bytes: TOKENS,
  writing: { kind: 'plain' as const, joins: true, added: [] },
  eosIds: [TOKENS.length - 1],
};
/** Any "a" may be the one before the last 1200 letters, so a state tracks one position per letter. */
const COUNTED = { type: 'string', pattern: '^[ab]*a[ab]{1200}$' };
const [QUOTE, LONGEST] = [WORDS.length, WORDS.length - 1];

/** Generates with long tokens only. */
function write(constraint: Constraint, tokens: number): void {
  for (const id of [QUOTE, ...Array.from({ length: tokens }, (_, i) => LONGEST - ((997 * i) % 1000))]) {
    expect(constraint.allowed(TOKENS.length)[id]).toBe(1);
    constraint.accept(id);
  }
} // prettier-ignore

it('an answer with too many states fails, and the next one starts with a new automaton', () => {
  const budget = new MemoryBudget(2 ** 25, 2 ** 23);
  const constraints = new Constraints(vocabulary, budget);
  const asked = { type: 'json_schema' as const, schema: COUNTED };
  const tooLarge = expect.objectContaining({ code: 'request_too_large' }) as Error;
  const beside = constraints.of({ type: 'json_schema', schema: { type: 'string' } });
  const first = constraints.of(asked);
  expect(() => write(first, 25)).toThrow(tooLarge);
  first.close();
  write(beside, 25);
  write(constraints.of(asked), 5);
});

it('all answers share a memory limit and release their memory', () => {
  const budget = new MemoryBudget(2 ** 23, 2 ** 23);
  const constraints = new Constraints(vocabulary, budget);
  const answers = Array.from({ length: 12 }, (_, i) =>
    constraints.of({ type: 'json_schema', schema: { ...COUNTED, title: `${i}` } }),
  );
  expect(() => {
    for (const answer of answers) write(answer, 4);
  }).toThrow(expect.objectContaining({ code: 'unavailable' }) as Error);
  for (const answer of answers) answer.close();
  // The last forms stay cached; new ones replace them.
  for (let i = 0; i < 8; i++)
    constraints.of({ type: 'json_schema', schema: { const: 'a'.repeat(i) } });
  expect(budget.taken).toBeLessThan(2 ** 17);
  write(constraints.of({ type: 'json_schema', schema: COUNTED }), 4);
});

it('limits the places that one mask may examine', () => {
  const automaton = new Automaton(schemaGrammar(COUNTED, 'schema'), EVERY_BYTE);
  const walk = (): void => {
    let state = automaton.step(automaton.start, 0x22);
    for (let n = 1, i = 0; i < 1200; i++) {
      n = (Math.imul(n, 1664525) + 1013904223) >>> 0;
      state = automaton.step(state, n >>> 31 ? 0x61 : 0x62);
    }
  };
  expect(walk).toThrow('too many ways to continue');
  // Computed states are kept, so the next attempt continues from them.
  const before = automaton.fullness;
  expect(before).toBeLessThan(1);
  automaton.renew();
  walk();
  expect(automaton.fullness).toBeGreaterThan(before);
});

it('rejects a byte without a token, whatever its class', () => {
  const alphabet = Uint8Array.from(EVERY_BYTE, (_, byte) => (byte === 0x62 ? 0 : 1));
  const automaton = new Automaton(schemaGrammar({ pattern: '^[abc]$' }, 'schema'), alphabet);
  const first = automaton.step(automaton.start, 0x22);
  expect([0x61, 0x62, 0x63].map((byte) => automaton.step(first, byte) > 0)).toEqual([true, false, true]); // prettier-ignore
});
