// Matches bytes against a grammar. A place is a node to read with a linked list of what follows it. A
// state is the set of all places that the bytes so far may have reached. Places and states are created
// once and cached: a deterministic automaton, built lazily.
import { DomainError } from '@graft/contracts';
import { nodesOf, writable, type Node } from './grammar.js';

interface Place {
  readonly id: number;
  /** Node to read; null at the end. */
  readonly node: Node | null;
  /** Number of bytes of a literal, or of repetitions, that were read. */
  readonly done: number;
  readonly next: Place | null;
  /**
   * Places that continue with this one, by node; null until there are any. `further`: this place with `done`
   * + 1.
   */
  before: Map<Node, Place> | null;
  further: Place | null;
}

interface State {
  /** Places that read a byte next. */
  readonly reads: readonly Place[];
  readonly isEnd: boolean;
  /** Next state by byte class; UNKNOWN until it is computed. */
  readonly next: Int32Array;
}

/** Maximum places per state. A form with more leaves nearly everything open. */
const MOST_PLACES = 10_000;
/** Maximum places examined between calls of `renew`. Generated JSON needs some thousands per token. */
const MOST_LOOKS = 1_000_000;
/** Estimated memory in V8, including map entries. Measured with an accuracy of a fifth. */
const BYTES_OF_PLACE = 100;
const BYTES_OF_MAP = 200;
const BYTES_OF_STATE = 400;

/**
 * Memory limits in bytes: for all automata together, and for one. With some patterns, every token leads to
 * new states. A string with a maximum length takes about 10 kB per character.
 */
export class MemoryBudget {
  taken = 0;

  constructor(
    readonly most = 2 ** 30,
    readonly mostOfOne = 2 ** 27,
  ) {}
}

/** State that no text of the grammar reaches. */
export const DEAD = 0;
const UNKNOWN = -1;

export class Automaton {
  readonly start: number;
  private readonly states: State[] = [{ reads: [], isEnd: false, next: new Int32Array(256) }];
  private readonly stateOf = new Map<string, number>();
  private readonly writable: ReadonlySet<Node>;
  private readonly classOf: Uint8Array;
  private readonly classes: number;
  private places = 0;
  private bytes = 0;
  private looks = 0;
  private readonly end: Place;

  /**
   * @param alphabet 256 entries, 1 for bytes that the vocabulary can write; paths that need other bytes are
   * removed
   */
  constructor(
    root: Node,
    private readonly alphabet: Uint8Array,
    private readonly budget = new MemoryBudget(),
  ) {
    const nodes = nodesOf(root);
    this.writable = writable(nodes, alphabet);
    ({ classOf: this.classOf, classes: this.classes } = byteClasses(nodes));
    try {
      this.end = this.place(null, 0, null);
      this.start = this.writable.has(root) ? this.state([this.before(this.end, root)]) : DEAD;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Used share of the memory limit. */
  get fullness(): number {
    return this.bytes / this.budget.mostOfOne;
  }

  /** Releases its memory. The automaton must not be used afterwards. */
  close(): void {
    this.budget.taken -= this.bytes;
    this.bytes = 0;
  }

  /** Resets the count of examined places, which limits the work of the steps until the next call. */
  renew(): void {
    this.looks = 0;
  }

  /**
   * Returns the state after one more byte, or DEAD.
   * @throws DomainError if a new state is needed: `request_too_large` above the limit of one automaton,
   * `unavailable` above the limit of all
   */
  step(from: number, byte: number): number {
    if (this.alphabet[byte] === 0) return DEAD;
    const { next, reads } = this.states[from] as State;
    const kind = this.classOf[byte] as number;
    const known = next[kind] as number;
    if (known !== UNKNOWN) return known;
    this.look(reads.length);
    return (next[kind] = this.state(reads.flatMap((place) => this.read(place, byte) ?? [])));
  }

  /** Whether a text may end here. */
  isEnd(state: number): boolean {
    return (this.states[state] as State).isEnd;
  }

  /** Whether a text must end here. */
  isComplete(state: number): boolean {
    const { isEnd, reads } = this.states[state] as State;
    return isEnd && reads.length === 0;
  }

  private look(places: number): void {
    this.looks += places;
    if (this.looks > MOST_LOOKS) throw tooMany();
  }

  private take(bytes: number): void {
    const { budget } = this;
    this.bytes += bytes;
    budget.taken += bytes;
    if (this.bytes > budget.mostOfOne) throw tooMany();
    if (budget.taken > budget.most)
      throw new DomainError('unavailable', 'other constrained answers use all memory reserved for them; try again later'); // prettier-ignore
  }

  private place(node: Node | null, done: number, next: Place | null): Place {
    this.take(BYTES_OF_PLACE);
    return { id: this.places++, node, done, next, before: null, further: null };
  }

  private before(next: Place, node: Node): Place {
    if (!next.before) this.take(BYTES_OF_MAP);
    const before = (next.before ??= new Map<Node, Place>());
    let place = before.get(node);
    if (!place) before.set(node, (place = this.place(node, 0, next)));
    return place;
  }

  private further(place: Place): Place {
    return (place.further ??= this.place(place.node, place.done + 1, place.next));
  }

  /** Returns the place after reading a byte, or null if it does not match. */
  private read(place: Place, byte: number): Place | null {
    const { node, next, done } = place;
    if (node?.kind === 'byte') return node.set[byte] === 1 ? next : null;
    if (node?.kind === 'literal') return node.bytes[done] === byte ? this.further(place) : null;
    return null;
  }

  private state(places: readonly Place[]): number {
    const unique = new Set(places);
    if (unique.size === 0) return DEAD;
    const key = [...unique]
      .map(({ id }) => id)
      .sort((a, b) => a - b)
      .join();
    const known = this.stateOf.get(key);
    if (known !== undefined) return known;
    const { reads, isEnd } = this.opened(unique);
    this.take(BYTES_OF_STATE + key.length + 8 * reads.length + 4 * this.classes);
    const next = new Int32Array(this.classes).fill(UNKNOWN);
    this.states.push({ reads, isEnd, next });
    this.stateOf.set(key, this.states.length - 1);
    return this.states.length - 1;
  }

  /** Returns the places that can read a byte next. */
  private opened(places: Iterable<Place>): Omit<State, 'next'> {
    const seen = new Set(places);
    const reads: Place[] = [];
    // A loop over a Set also visits elements that are added during the loop.
    for (const place of seen) {
      if (seen.size > MOST_PLACES) throw tooMany();
      if (this.isRead(place)) reads.push(place);
      else for (const one of this.ways(place)) seen.add(one);
    }
    this.look(seen.size);
    return { reads, isEnd: seen.has(this.end) };
  }

  private isRead({ node, done }: Place): boolean {
    return node?.kind === 'byte' || (node?.kind === 'literal' && done < node.bytes.length);
  }

  /** Returns the places reached from one without reading a byte. */
  private ways(place: Place): Place[] {
    const { node, next, done } = place;
    if (!node || !next) return [];
    switch (node.kind) {
      case 'sequence':
        return [node.of.reduceRight((after, one) => this.before(after, one), next)];
      case 'choice':
        return node.of.flatMap((one) => (this.writable.has(one) ? this.before(next, one) : []));
      case 'repeat': {
        const isMore = done < node.max && this.writable.has(node.of);
        // Without a maximum, repetitions beyond the minimum are equivalent.
        const isSame = node.max === Infinity && done === node.min;
        const more = isMore ? [this.before(isSame ? place : this.further(place), node.of)] : [];
        return done >= node.min ? [...more, next] : more;
      }
      case 'later':
        return [this.before(next, node.node())];
      default:
        return [next];
    }
  }
}

const tooMany = (): DomainError =>
  new DomainError('request_too_large', 'the requested form has too many ways to continue; simplify the schema or its patterns'); // prettier-ignore

/** Groups bytes into classes that no node distinguishes. */
function byteClasses(nodes: readonly Node[]): { classOf: Uint8Array; classes: number } {
  let classOf: Uint8Array = new Uint8Array(256);
  let classes = 1;
  const part = (isOf: (byte: number) => boolean): void => {
    const parted = new Map<number, number>();
    classOf = classOf.map((one, byte) => {
      const key = 2 * one + (isOf(byte) ? 1 : 0);
      const name = parted.get(key) ?? parted.size;
      parted.set(key, name);
      return name;
    });
    classes = parted.size;
  };
  const sets = new Set(nodes.flatMap((node) => (node.kind === 'byte' ? [node.set] : [])));
  const unlike = new Map([...sets].map((set) => [set.join(''), set]));
  for (const set of unlike.values()) part((byte) => set[byte] === 1);
  const own = new Set(nodes.flatMap((node) => (node.kind === 'literal' ? [...node.bytes] : [])));
  for (const one of own) part((byte) => byte === one);
  return { classOf, classes };
}
