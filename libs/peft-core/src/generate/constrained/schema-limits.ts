// How large schemas may be, and the grammars that are made of them. They are read where requests are: what is too large is
// refused before it is read, and a grammar that grows too large as soon as it does.
import { DomainError } from '@graft/contracts';
import { nodesOf, type Node } from './grammar.js';

/** Of all schemas of one request, the signs of keys and values. */
const MOST_CHARACTERS = 120_000;
/** Of these, in patterns: each takes several nodes. */
const MOST_IN_PATTERNS = 20_000;
/** Objects and lists within each other. */
const MOST_LEVELS = 400;
/** Of a list, or of an object's properties. */
const MOST_ENTRIES = 1000;
/** More nodes are no form that anybody wrote. */
const MOST_NODES = 100_000;

const tooLarge = (path: string, why: string): DomainError =>
  new DomainError('request_too_large', `${path}: ${why}`, path);

/** @throws DomainError `request_too_large` */
export function checkEntries(count: number, path: string): void {
  if (count > MOST_ENTRIES)
    throw tooLarge(path, `${count} entries are too many; the limit is ${MOST_ENTRIES}`);
}

/** What the schemas of one request take together. */
export class SchemaBudget {
  private characters = 0;
  private inPatterns = 0;
  private nodes = 0;
  private readonly counted = new Set<Node>();

  /**
   * Counts a schema that is to be read.
   * @throws DomainError `request_too_large`
   */
  takeSchema(schema: unknown, path: string): void {
    const open = [{ value: schema, level: 0 }];
    for (let top = open.pop(); top; top = open.pop()) {
      const { value, level } = top;
      if (typeof value !== 'object' || value === null) {
        this.characters += String(value).length + 1;
        continue;
      }
      if (level === MOST_LEVELS) throw tooLarge(path, 'the schema is nested too deeply');
      for (const [key, part] of Object.entries(value)) {
        this.characters += key.length + 1;
        if (key === 'pattern' && typeof part === 'string') this.inPatterns += part.length;
        open.push({ value: part, level: level + 1 });
      }
      this.checkCharacters(path);
    }
    this.checkCharacters(path);
  }

  private checkCharacters(path: string): void {
    if (this.characters > MOST_CHARACTERS)
      throw tooLarge(path, `a schema of more than ${MOST_CHARACTERS} characters is too large`);
    if (this.inPatterns > MOST_IN_PATTERNS)
      throw tooLarge(path, `patterns of more than ${MOST_IN_PATTERNS} characters are too large`);
  }

  /**
   * Counts what was made, as far as it was not before.
   * @throws DomainError `request_too_large`
   */
  takeNodes(root: Node, path: string): void {
    for (const node of nodesOf(root, this.counted, false))
      this.nodes += node.kind === 'sequence' || node.kind === 'choice' ? 1 + node.of.length : 1;
    if (this.nodes > MOST_NODES) throw tooLarge(path, 'the schema is too large');
  }
}
