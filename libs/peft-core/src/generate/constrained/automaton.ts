// Reads bytes by a grammar. A state is the set of all places that the bytes so far may have led to; a place is a node that
// is read and, linked behind it, what follows it. Places and states are made once each, so that a state's next ones are
// looked up: a deterministic automaton, made as far as it is walked.
import { DomainError } from '@graft/contracts';
import { nodesOf, writable, type Node } from './grammar.js';

interface Place {
  readonly id: number;
  /** Null: the end. */
  readonly node: Node | null;
  /** Bytes of a literal or rounds of a repetition that are behind it. */
  readonly done: number;
  readonly next: Place | null;
  /** Places in front of this one. */
  readonly before: Map<Node, Map<number, Place>>;
}

interface Arc {
  /** Null: `byte` alone. */
  readonly set: Uint8Array | null;
  readonly byte: number;
  readonly to: Place;
}

interface State {
  readonly arcs: readonly Arc[];
  readonly isEnd: boolean;
  /** By class of bytes the next state; UNKNOWN until it is asked for. */
  readonly next: Int32Array;
}

/** Ways to go on from one state; one with more is a form in which nearly everything is open. */
const MOST_ARCS = 50_000;

/** No text of the grammar begins like this. */
export const DEAD = 0;
const UNKNOWN = -1;

export class Automaton {
  readonly start: number;
  private readonly states: State[] = [{ arcs: [], isEnd: false, next: new Int32Array(256) }];
  private readonly stateOf = new Map<string, number>();
  private readonly writable: ReadonlySet<Node>;
  private readonly classOf: Uint8Array;
  private readonly classes: number;
  private places = 0;
  private readonly end: Place;

  /** @param alphabet bytes that can be written: ways that need others are none (256 entries, 1 where the byte is of it) */
  constructor(
    root: Node,
    private readonly alphabet: Uint8Array,
  ) {
    const nodes = nodesOf(root);
    this.writable = writable(nodes, alphabet);
    ({ classOf: this.classOf, classes: this.classes } = byteClasses(nodes));
    this.end = this.place(null, 0, null);
    this.start = this.writable.has(root) ? this.state([this.before(this.end, root)]) : DEAD;
  }

  /** States so far. */
  get size(): number {
    return this.states.length;
  }

  /** The state after one more byte; DEAD where none is. */
  step(from: number, byte: number): number {
    const { next, arcs } = this.states[from] as State;
    const kind = this.classOf[byte] as number;
    const known = next[kind] as number;
    if (known !== UNKNOWN) return known;
    const to = arcs.filter(({ set, byte: one }) => (set ? set[byte] === 1 : one === byte));
    return (next[kind] = this.state(to.map((arc) => arc.to)));
  }

  /** Whether a text may end here. */
  isEnd(state: number): boolean {
    return (this.states[state] as State).isEnd;
  }

  /** Whether it may, and cannot go on. */
  isComplete(state: number): boolean {
    const { isEnd, arcs } = this.states[state] as State;
    return isEnd && arcs.length === 0;
  }

  private place(node: Node | null, done: number, next: Place | null): Place {
    return { id: this.places++, node, done, next, before: new Map() };
  }

  private before(next: Place, node: Node, done = 0): Place {
    let counts = next.before.get(node);
    if (!counts) next.before.set(node, (counts = new Map()));
    let place = counts.get(done);
    if (!place) counts.set(done, (place = this.place(node, done, next)));
    return place;
  }

  private state(places: readonly Place[]): number {
    const unique = [...new Map(places.map((place) => [place.id, place])).values()];
    if (unique.length === 0) return DEAD;
    const key = unique
      .map(({ id }) => id)
      .sort((a, b) => a - b)
      .join();
    const known = this.stateOf.get(key);
    if (known !== undefined) return known;
    const arcs: Arc[] = [];
    const seen = new Set<Place>();
    for (const place of unique) this.open(place, arcs, seen);
    if (arcs.length > MOST_ARCS)
      throw new DomainError('request_too_large', 'the form that is asked for has too many ways to go on at once'); // prettier-ignore
    const next = new Int32Array(this.classes).fill(UNKNOWN);
    this.states.push({ arcs, isEnd: seen.has(this.end), next });
    this.stateOf.set(key, this.states.length - 1);
    return this.states.length - 1;
  }

  /** Adds what may be read next from a place. */
  private open(place: Place, arcs: Arc[], seen: Set<Place>): void {
    if (seen.has(place)) return;
    seen.add(place);
    const { node, next, done } = place;
    if (!node || !next) return;
    const go = (to: Place): void => this.open(to, arcs, seen);
    switch (node.kind) {
      case 'byte':
        arcs.push({ set: this.written(node.set), byte: -1, to: next });
        break;
      case 'literal':
        if (done === node.bytes.length) go(next);
        else
          arcs.push({ set: null, byte: node.bytes[done] as number, to: this.before(next, node, done + 1) }); // prettier-ignore
        break;
      case 'sequence':
        go(node.of.reduceRight((after, one) => this.before(after, one), next));
        break;
      case 'choice':
        for (const one of node.of) if (this.writable.has(one)) go(this.before(next, one));
        break;
      case 'repeat': {
        // Without an end, rounds beyond the least are not told apart.
        const rounds = node.max === Infinity ? Math.min(done + 1, node.min) : done + 1;
        if (done < node.max && this.writable.has(node.of))
          go(this.before(this.before(next, node, rounds), node.of));
        if (done >= node.min) go(next);
        break;
      }
      case 'later':
        go(this.before(next, node.node()));
    }
  }

  private readonly writtenSets = new Map<Uint8Array, Uint8Array>();
  /** Those bytes of a set that can be written. */
  private written(set: Uint8Array): Uint8Array {
    let found = this.writtenSets.get(set);
    if (!found) {
      found = set.map((isOf, byte) => isOf & (this.alphabet[byte] as number));
      this.writtenSets.set(set, found);
    }
    return found;
  }
}

/** Bytes that no node tells apart are of one class. */
function byteClasses(nodes: readonly Node[]): { classOf: Uint8Array; classes: number } {
  const signatures = Array.from({ length: 256 }, () => '');
  const sets = new Set(nodes.flatMap((node) => (node.kind === 'byte' ? [node.set] : [])));
  for (const set of sets)
    set.forEach((isOf, byte) => (signatures[byte] = `${signatures[byte]}${isOf}`));
  const own = new Set(nodes.flatMap((node) => (node.kind === 'literal' ? [...node.bytes] : [])));
  for (const byte of own) signatures[byte] = `${signatures[byte]} ${byte}`;
  const names = [...new Set(signatures)];
  return {
    classOf: Uint8Array.from(signatures, (signature) => names.indexOf(signature)),
    classes: names.length,
  };
}
