// String formats of JSON Schema as patterns.
import type { Node } from './grammar.js';
import { quoted } from './json-grammar.js';
import { patternGrammar } from './pattern-grammar.js';

const TWO = '[0-9]{2}';
const TIME = `([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])`;
const DATE = `${TWO}${TWO}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))`;
const OCTET = '(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';
const LABEL = '[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?';
const FORMATS: Readonly<Record<string, string>> = {
  date: `^${DATE}$`,
  time: `^${TIME}$`,
  'date-time': `^${DATE}T${TIME}$`,
  uuid: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
  ipv4: `^(${OCTET}\\.){3}${OCTET}$`,
  hostname: `^${LABEL}(\\.${LABEL}){0,4}$`,
  email: `^[a-zA-Z0-9_]{1,30}([.+-][a-zA-Z0-9_]{1,30}){0,3}@${LABEL}(\\.${LABEL}){1,3}$`,
};

export const FORMAT_NAMES = Object.keys(FORMATS);

const made = new Map<string, Node>();

/**
 * Returns the grammar of a format with quotes, the same node each time. Undefined if the format is
 * unknown.
 */
export function formatGrammar(name: string): Node | undefined {
  const source = Object.hasOwn(FORMATS, name) ? FORMATS[name] : undefined;
  if (source === undefined) return undefined;
  const node = made.get(name) ?? quoted(patternGrammar(source));
  made.set(name, node);
  return node;
}
