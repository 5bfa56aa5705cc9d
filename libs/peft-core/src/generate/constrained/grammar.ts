// Grammars over bytes that describe the form of an answer. automaton.ts matches them.

export type Node =
  /** One byte of a set. 256 entries, 1 for each member. */
  | { readonly kind: 'byte'; readonly set: Uint8Array }
  | { readonly kind: 'literal'; readonly bytes: Uint8Array }
  | { readonly kind: 'sequence'; readonly of: readonly Node[] }
  | { readonly kind: 'choice'; readonly of: readonly Node[] }
  | { readonly kind: 'repeat'; readonly of: Node; readonly min: number; readonly max: number }
  /** Node that is defined later, for recursive grammars. */
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

/** Returns a byte node of inclusive ranges: `bytes([0x30, 0x39])`. */
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
 * Returns all reachable nodes, parts before wholes unless they are recursive.
 * @param seen nodes to skip, with everything reached through them; receives the returned nodes
 * @param isMade whether `later` nodes are defined and followed
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
 * Returns the nodes that match at least one text of finite length, written with the bytes of an alphabet.
 * @param nodes result of `nodesOf`
 * @param alphabet 256 entries, 1 for each member
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
