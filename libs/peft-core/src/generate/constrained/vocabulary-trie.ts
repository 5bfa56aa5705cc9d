// Vocabulary as a byte trie, stored in depth-first order: one pass finds the tokens that a state of an
// automaton allows, and skips whole branches that it does not allow.
import { DEAD, type Automaton } from './automaton.js';

export class VocabularyTrie {
  /** 1 for each byte that is a token by itself: these can always be written. */
  readonly alphabet = new Uint8Array(256);
  /**
   * Arrays by node: its byte, its depth from 1, the node after its branch, and the end of its tokens in
   * `ids`.
   */
  private readonly byte: Uint8Array;
  private readonly depth: Uint16Array;
  private readonly after: Int32Array;
  private readonly ends: Int32Array;
  /** Token ids in the order of their bytes. */
  private readonly ids: Int32Array;
  private readonly deepest: number;

  private readonly size: number;

  /** @param tokens bytes by token id; tokens without bytes are never allowed */
  constructor(tokens: readonly Uint8Array[]) {
    this.size = tokens.length;
    const ids = [...tokens.keys()].filter((id) => (tokens[id]?.length ?? 0) > 0);
    ids.sort((a, b) => Buffer.compare(tokens[a] as Uint8Array, tokens[b] as Uint8Array));
    this.ids = Int32Array.from(ids);
    const byte: number[] = [];
    const depth: number[] = [];
    const ends: number[] = [];
    let last: Uint8Array = new Uint8Array();
    ids.forEach((id, at) => {
      const token = tokens[id] as Uint8Array;
      if (token.length === 1) this.alphabet[token[0] as number] = 1;
      for (let i = shared(last, token); i < token.length; i++) {
        byte.push(token[i] as number);
        depth.push(i + 1);
        ends.push(at);
      }
      ends[ends.length - 1] = at + 1;
      last = token;
    });
    this.byte = Uint8Array.from(byte);
    this.depth = Uint16Array.from(depth);
    // The tokens of a node start at the end of the previous node's tokens.
    this.ends = Int32Array.from(ends);
    this.after = followers(this.depth);
    this.deepest = depth.reduce((most, one) => Math.max(most, one), 0);
  }

  /** Returns a mask by token id: 1 if the token may come next. */
  allowed(automaton: Automaton, state: number): Uint8Array {
    const allowed = new Uint8Array(this.size);
    const states = new Int32Array(this.deepest + 1);
    states[0] = state;
    const { byte, depth, after, ends, ids } = this;
    for (let node = 0; node < byte.length;) {
      const at = depth[node] as number;
      const next = automaton.step(states[at - 1] as number, byte[node] as number);
      if (next === DEAD) {
        node = after[node] as number;
        continue;
      }
      states[at] = next;
      const from = node === 0 ? 0 : (ends[node - 1] as number);
      for (let i = from; i < (ends[node] as number); i++) allowed[ids[i] as number] = 1;
      node++;
    }
    return allowed;
  }
}

function shared(a: Uint8Array, b: Uint8Array): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

/** Returns for each node the next one that is not below it. */
function followers(depth: Uint16Array): Int32Array {
  const after = new Int32Array(depth.length);
  const open: number[] = [];
  for (let node = depth.length - 1; node >= 0; node--) {
    while (open.length > 0 && (depth[open.at(-1) as number] as number) > (depth[node] as number))
      open.pop();
    after[node] = open.at(-1) ?? depth.length;
    open.push(node);
  }
  return after;
}
