// Size limits of schemas and their grammars. The API parses schemas while it validates requests: a schema
// that is too large is rejected before it is parsed, and a grammar as soon as it grows too large.
import { DomainError } from '@graft/contracts';
import { nodesOf, type Node } from './grammar.js';

/** Maximum characters of keys and values in all schemas of one request. */
const MOST_CHARACTERS = 120_000;
/** Maximum characters of patterns among them. Each takes several nodes. */
const MOST_IN_PATTERNS = 20_000;
/** Maximum nesting depth of objects and lists. */
const MOST_LEVELS = 400;
/** Maximum entries of a list, or of an object's properties. */
const MOST_ENTRIES = 1000;
/** Maximum size of the grammars. More than any hand-written form needs. */
const MOST_NODES = 100_000;

const tooLarge = (path: string, why: string): DomainError =>
  new DomainError('request_too_large', `${path}: ${why}`, path);

/** Rejects too many entries. @throws DomainError `request_too_large` */
export function checkEntries(count: number, path: string): void {
  if (count > MOST_ENTRIES)
    throw tooLarge(path, `${count} entries are too many; the limit is ${MOST_ENTRIES}`);
}

/** Total size of the schemas of one request. */
export class SchemaBudget {
  private characters = 0;
  private inPatterns = 0;
  private nodes = 0;
  private readonly counted = new Set<Node>();

  /**
   * Counts a schema before it is parsed.
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
   * Counts the nodes of a grammar that were not counted before.
   * @throws DomainError `request_too_large`
   */
  takeNodes(root: Node, path: string): void {
    for (const node of nodesOf(root, this.counted, false))
      this.nodes += node.kind === 'sequence' || node.kind === 'choice' ? 1 + node.of.length : 1;
    if (this.nodes > MOST_NODES) throw tooLarge(path, 'the schema is too large');
  }
}
