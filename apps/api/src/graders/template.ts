import { DomainError, grouped } from '@graft/contracts';

/** Values that `{{…}}` may refer to. */
export interface Grading {
  readonly item: unknown;
  readonly sample: Sample | null;
}

/** A sample with OpenAI's field names. `output_json` is parsed from the text when a template uses it. */
export interface Sample {
  readonly output_text: string;
  readonly output_tools: readonly unknown[];
  readonly choices: readonly unknown[];
}

/** Builds a sample from its text, with its tool calls and choices, if any. */
export function sampleOf(
  text: string,
  { output_tools: tools, choices }: Readonly<Record<string, unknown>> = {},
): Sample {
  const output_tools = Array.isArray(tools) ? (tools as readonly unknown[]) : [];
  const message = { role: 'assistant', content: text, tool_calls: output_tools };
  return {
    output_text: text,
    output_tools,
    choices: Array.isArray(choices) ? (choices as readonly unknown[]) : [{ index: 0, message }],
  };
}

/**
 * The sample lacks a value that a template names. This is a wrong answer; in contrast, a missing value of the item is
 * an invalid request.
 */
export class MissingSampleValue extends Error {}

/** Excludes braces, so that each character is read once, regardless of how many braces are opened. */
const NAME = /\{\{([^{}]*)\}\}/g;
/** Matches `.name`, `[0]`, `["a name"]` or `['a name']`. */
const STEP = /\.([^.[\]]+)|\[(\d+)\]|\["([^"]*)"\]|\['([^']*)'\]/y;
/** Maximum characters of a rendered text; the same as that of a template. */
export const MOST_RENDERED = 1_000_000;
const OF_SAMPLE = ['output_text', 'output_json', 'output_tools', 'choices'];

/**
 * Checks the names in a template.
 * @throws DomainError if no item or sample can have one of them
 */
export function checkTemplate(template: string, param: string): void {
  for (const [, name = ''] of template.matchAll(NAME)) {
    const { root, path } = pathOf(name, param);
    const [field = '', ...rest] = path;
    if (
      root === 'sample' &&
      (!OF_SAMPLE.includes(field) || (field === 'output_text' && rest.length > 0))
    )
      throw unknownName(
        param,
        name,
        'a sample has output_text, output_json, output_tools and choices',
      );
  }
}

/** Parses the path in `{{…}}`. */
function pathOf(name: string, param: string): { readonly root: string; readonly path: string[] } {
  const text = name.trim();
  const [root] = /^(?:item|sample)(?=[.[]|$)/.exec(text) ?? [];
  if (root === undefined)
    throw unknownName(param, name, 'templates support {{item.…}} and {{sample.…}}');
  const path: string[] = [];
  for (let at = root.length; at < text.length; at = STEP.lastIndex) {
    STEP.lastIndex = at;
    const step = STEP.exec(text);
    if (step === null)
      throw unknownName(
        param,
        name,
        'expected a path such as item.a.b, item.list[0] or item["a b"]',
      );
    path.push(step.slice(1).find((key) => key !== undefined)!);
  }
  return { root, path };
}

/**
 * Renders a template. Strings are inserted as they are, other values as JSON.
 * @throws DomainError if the item lacks a value, or the text exceeds MOST_RENDERED
 * @throws MissingSampleValue
 */
export function render(template: string, grading: Grading, param: string): string {
  checkTemplate(template, param);
  const known = new Map<string, string>();
  let put = 0;
  const whole = template.replace(NAME, (_, name: string) => {
    const text = known.get(name) ?? textOf(lookUp(name, grading, param));
    known.set(name, text);
    put += text.length;
    if (put > MOST_RENDERED) throw tooLong(param);
    return text;
  });
  if (whole.length > MOST_RENDERED) throw tooLong(param);
  return whole;
}

const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value);

function lookUp(name: string, { item, sample }: Grading, param: string): unknown {
  const { root, path } = pathOf(name, param);
  const isItem = root === 'item';
  if (!isItem && sample === null)
    throw unknownName(param, name, 'there is no sample because the data source has no model');
  let value = isItem ? item : { ...sample, output_json: undefined };
  for (const [depth, key] of path.entries()) {
    const has = typeof value === 'object' && value !== null && Object.hasOwn(value, key);
    if (!has) {
      const whole = isItem ? 'the item' : 'the sample';
      const at =
        depth === 0 ? whole : `${path.slice(0, depth).join('.').slice(0, 100)} of ${whole}`;
      const message = notFoundMessage(param, name, `${at} ${contents(value)}`);
      throw isItem
        ? new DomainError('invalid_value', message, param)
        : new MissingSampleValue(message);
    }
    const isJson = !isItem && depth === 0 && key === 'output_json';
    value = isJson
      ? parsed(sample!.output_text, param, name)
      : (value as Readonly<Record<string, unknown>>)[key];
  }
  return value;
}

function contents(value: unknown): string {
  if (value === null) return 'is null';
  if (Array.isArray(value)) return `is a list of ${value.length}`;
  if (typeof value !== 'object') return `is a ${typeof value}`;
  const keys = Object.keys(value);
  if (keys.length === 0) return 'is empty';
  const shown = keys.slice(0, 10).map((key) => key.slice(0, 100));
  return `has ${shown.join(', ')}${keys.length > 10 ? ', …' : ''}`;
}

function parsed(text: string, param: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new MissingSampleValue(notFoundMessage(param, name, 'the sample is not JSON'));
  }
}

const notFoundMessage = (param: string, name: string, known: string): string =>
  `${param}: {{${name.trim().slice(0, 100)}}} does not exist; ${known}`;

const unknownName = (param: string, name: string, known: string): DomainError =>
  new DomainError('invalid_value', notFoundMessage(param, name, known), param);

export const tooLong = (param: string): DomainError =>
  new DomainError(
    'request_too_large',
    `${param}: the rendered text exceeds the limit of ${grouped(MOST_RENDERED)} characters`,
    param,
  );
