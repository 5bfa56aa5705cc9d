// Grammars over bytes, from which the form of an answer is built: what an automaton (automaton.ts) reads.

export type Node =
  /** One byte of a set: 256 entries, 1 where it is of it. */
  | { readonly kind: 'byte'; readonly set: Uint8Array }
  | { readonly kind: 'literal'; readonly bytes: Uint8Array }
  | { readonly kind: 'sequence'; readonly of: readonly Node[] }
  | { readonly kind: 'choice'; readonly of: readonly Node[] }
  | { readonly kind: 'repeat'; readonly of: Node; readonly min: number; readonly max: number }
  /** One that is made later: how a grammar recurs. */
  | { readonly kind: 'later'; readonly node: () => Node };

export const sequence = (...of: readonly Node[]): Node => ({ kind: 'sequence', of });
export const choice = (...of: readonly Node[]): Node =>
  of.length === 1 ? (of[0] as Node) : { kind: 'choice', of };
export const repeat = (of: Node, min: number, max = Infinity): Node =>
  min === 1 && max === 1 ? of : { kind: 'repeat', of, min, max };
export const optional = (of: Node): Node => repeat(of, 0, 1);
export const literal = (text: string): Node => ({
  kind: 'literal',
  bytes: new TextEncoder().encode(text),
});
export const EMPTY = sequence();
export const NEVER: Node = { kind: 'choice', of: [] };

/** Bytes of ranges, both ends included: `bytes([0x30, 0x39])`. */
export function bytes(...ranges: readonly (readonly [from: number, to: number])[]): Node {
  const set = new Uint8Array(256);
  for (const [from, to] of ranges) set.fill(1, from, to + 1);
  return { kind: 'byte', set };
}

function partsOf(node: Node): readonly Node[] {
  switch (node.kind) {
    case 'sequence':
    case 'choice':
      return node.of;
    case 'repeat':
      return [node.of];
    case 'later':
      return [node.node()];
    default:
      return [];
  }
}

/**
 * All nodes that can be reached, parts before wholes where they do not recur.
 * @param seen those that are left out, with what is reached through them; gets the others @param isMade whether what is
 * made later is so by now, and gone through
 */
export function nodesOf(root: Node, seen = new Set<Node>(), isMade = true): Node[] {
  if (seen.has(root)) return [];
  seen.add(root);
  const ordered: Node[] = [];
  const within = (node: Node): readonly Node[] =>
    node.kind === 'later' && !isMade ? [] : partsOf(node);
  const open: { node: Node; parts: readonly Node[]; at: number }[] = [
    { node: root, parts: within(root), at: 0 },
  ];
  for (let top = open.at(-1); top; top = open.at(-1)) {
    const part = top.parts[top.at++];
    if (part === undefined) {
      ordered.push(top.node);
      open.pop();
    } else if (!seen.has(part)) {
      seen.add(part);
      open.push({ node: part, parts: within(part), at: 0 });
    }
  }
  return ordered;
}

/**
 * Nodes that some text of finite length is of, where only bytes of an alphabet can be written.
 * @param nodes as `nodesOf` has them @param alphabet 256 entries, 1 where the byte is of it
 */
export function writable(nodes: readonly Node[], alphabet: Uint8Array): Set<Node> {
  const found = new Set<Node>();
  const isWritable = (node: Node): boolean => {
    switch (node.kind) {
      case 'byte':
        return node.set.some((isOf, byte) => isOf === 1 && alphabet[byte] === 1);
      case 'literal':
        return node.bytes.every((byte) => alphabet[byte] === 1);
      case 'sequence':
        return node.of.every((one) => found.has(one));
      case 'choice':
        return node.of.some((one) => found.has(one));
      case 'repeat':
        return node.min === 0 || found.has(node.of);
      case 'later':
        return found.has(node.node());
    }
  };
  for (let before = -1; before < found.size;) {
    before = found.size;
    for (const node of nodes) if (!found.has(node) && isWritable(node)) found.add(node);
  }
  return found;
}

export const EVERY_BYTE = new Uint8Array(256).fill(1);
