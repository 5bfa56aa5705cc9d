import leven from 'leven';
import { z } from 'zod';

/** Maximum length of a name to compare: the cost is the product of both lengths, and clients may send any length. */
const MOST_CHARACTERS = 100;

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly anyOf?: readonly JsonSchema[];
}

/** Returns the paths of all fields of a body, such as `graft.learning_rate`, in the order of the schema. */
export function fieldPaths(schema: z.ZodType, under = ''): string[] {
  const paths = new Set<string>();
  const walk = ({ properties = {}, anyOf = [] }: JsonSchema, prefix: string): void => {
    for (const [name, field] of Object.entries(properties)) {
      paths.add(prefix + name);
      walk(field, `${prefix}${name}.`);
    }
    for (const one of anyOf) walk(one, prefix);
  };
  walk(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema, under);
  return [...paths];
}

/** Returns the known field that an unknown one probably means, or null. */
export function meantField(unknown: string, known: readonly string[]): string | null {
  if (unknown.length > MOST_CHARACTERS) return null;
  const [parent, name] = split(unknown.toLowerCase().replaceAll('-', '_'));
  const ranked = known
    .map((path) => {
      const [at, called] = split(path);
      const depth = path.split('.').length;
      return { path, likeness: likeness(name, called), near: at === parent ? 0 : depth };
    })
    .filter(({ path, likeness }) => likeness < Infinity && path !== unknown);
  ranked.sort((a, b) => a.likeness - b.likeness || a.near - b.near);
  return ranked[0]?.path ?? null;
}

/** Returns the remedy for an unknown field, for an error message. */
export function wayOut(unknown: string, known: readonly string[]): string {
  const meant = meantField(unknown, known);
  return meant === null ? 'leave it out' : `did you mean ${meant}?`;
}

/** Returns up to three known names that are most similar to an unknown one, most similar first. */
export function nearestNames(unknown: string, known: readonly string[]): string[] {
  if (unknown.length > MOST_CHARACTERS) return [];
  const typed = unknown.toLowerCase();
  const isNear = (name: string, edits: number): boolean =>
    edits <= mostEdits(typed) || typed.startsWith(name) || name.startsWith(typed);
  return known
    .map((name) => ({ name, edits: leven(typed, name) }))
    .filter(({ name, edits }) => typed !== '' && isNear(name, edits))
    .sort((a, b) => a.edits - b.edits)
    .slice(0, 3)
    .map(({ name }) => name);
}

/**
 * Returns the distance of a typed name from a field: 0 for the same name, 1 for its initials (`lr`), 2 to 3 for some of
 * its words (`epochs`; lower for longer text), more for a misspelling, Infinity for any other name.
 */
function likeness(typed: string, called: string): number {
  if (typed === called) return 0;
  const initials = called.replaceAll(/([^_])[^_]*_?/g, '$1');
  if (typed.length > 1 && typed === initials) return 1;
  if (typed.length > 1 && `_${called}_`.includes(`_${typed}_`))
    return 3 - typed.length / called.length;
  const edits = leven(typed, called);
  return edits <= mostEdits(typed) ? 2 + edits : Infinity;
}

/** Maximum edit distance of a misspelling. */
const mostEdits = (typed: string): number => Math.floor((typed.length + 1) / 3);

function split(path: string): [parent: string, name: string] {
  const dot = path.lastIndexOf('.');
  return [path.slice(0, Math.max(0, dot)), path.slice(dot + 1)];
}
