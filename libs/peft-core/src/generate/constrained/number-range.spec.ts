import { expect, it } from 'vitest';
import { Automaton } from './automaton.js';
import { EVERY_BYTE, type Node } from './grammar.js';
import { integers, numbers } from './number-range.js';

function accepts(grammar: Node, text: string): boolean {
  const automaton = new Automaton(grammar, EVERY_BYTE);
  const bytes = new TextEncoder().encode(text);
  return automaton.isEnd(bytes.reduce((from, byte) => automaton.step(from, byte), automaton.start));
}

/** Numbers have at most 15 digits: intervals are clipped to them; an interval outside of them is empty. */
it.each([integers, numbers])('%o allows at most 15 digits', (made) => {
  const between = (min: number, max: number, isOpen = false): Node =>
    made({ min, max, isMinOpen: isOpen, isMaxOpen: isOpen }) as Node;
  const [largest, digits] = [10 ** 15 - 1, '9'.repeat(15)];
  for (const [min, max] of [[1e16, Infinity], [1e15, 2e15], [1e16, 1e17]] as const) {
    expect(accepts(between(min, max), digits), `${min}..${max}`).toBe(false);
    expect(accepts(between(-max, -min), `-${digits}`), `-${max}..-${min}`).toBe(false);
  }
  expect(accepts(between(largest, Infinity, true), digits)).toBe(false);
  for (const max of [largest, largest + 0.5, 1e15, 1e16]) {
    expect(accepts(between(3, max), digits), `3..${max}`).toBe(true);
    expect(accepts(between(-max, -3), `-${digits}`), `-${max}..-3`).toBe(true);
    expect(accepts(between(3, max), `${digits}.9`), `3..${max}`).toBe(false);
  }
}); // prettier-ignore
