import { DomainError, grouped } from '@graft/contracts';

/** What `{{…}}` may name. */
export interface Grading {
  readonly item: unknown;
  readonly sample: Sample | null;
}

/** By OpenAI's names; `output_json` is read from the text where something names it. */
export interface Sample {
  readonly output_text: string;
  readonly output_tools: readonly unknown[];
  readonly choices: readonly unknown[];
}

/** Tool calls and choices are those that come with a text, if any do. */
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

/** The sample lacks what a template names: a wrong answer, where an item that does is a wrong request. */
export class SampleLacks extends Error {}

/** Without braces in it: each character is looked at once, however many are opened. */
const NAME = /\{\{([^{}]*)\}\}/g;
/** `.name`, `[0]`, `["a name"]` or `['a name']`. */
const STEP = /\.([^.[\]]+)|\[(\d+)\]|\["([^"]*)"\]|\['([^']*)'\]/y;
/** Of a text with all that it names: as much as a template may be. */
export const MOST_RENDERED = 1_000_000;
const OF_SAMPLE = ['output_text', 'output_json', 'output_tools', 'choices'];

/** @throws DomainError where a template names what no item and no sample has */
export function checkTemplate(template: string, param: string): void {
  for (const [, name = ''] of template.matchAll(NAME)) {
    const { root, path } = pathOf(name, param);
    const [field = '', ...rest] = path;
    if (
      root === 'sample' &&
      (!OF_SAMPLE.includes(field) || (field === 'output_text' && rest.length > 0))
    )
      throw unknown(
        param,
        name,
        'of a sample there is output_text, output_json, output_tools and choices',
      );
  }
}

/** What `{{…}}` names, step by step. */
function pathOf(name: string, param: string): { readonly root: string; readonly path: string[] } {
  const text = name.trim();
  const [root] = /^(?:item|sample)(?=[.[]|$)/.exec(text) ?? [];
  if (root === undefined) throw unknown(param, name, 'templates know {{item.…}} and {{sample.…}}');
  const path: string[] = [];
  for (let at = root.length; at < text.length; at = STEP.lastIndex) {
    STEP.lastIndex = at;
    const step = STEP.exec(text);
    if (step === null)
      throw unknown(param, name, 'expected a path such as item.a.b, item.list[0] or item["a b"]');
    path.push(step.slice(1).find((key) => key !== undefined)!);
  }
  return { root, path };
}

/**
 * Strings as they are, all else as JSON.
 * @throws DomainError where the item lacks a name, and where it comes to more than MOST_RENDERED
 * @throws SampleLacks
 */
export function render(template: string, grading: Grading, param: string): string {
  checkTemplate(template, param);
  const known = new Map<string, string>();
  let put = 0;
  const whole = template.replace(NAME, (_, name: string) => {
    const text = known.get(name) ?? textOf(found(name, grading, param));
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

function found(name: string, { item, sample }: Grading, param: string): unknown {
  const { root, path } = pathOf(name, param);
  const isItem = root === 'item';
  if (!isItem && sample === null)
    throw unknown(param, name, 'nothing was sampled: there is no model in the data source');
  let value = isItem ? item : { ...sample, output_json: undefined };
  for (const [depth, key] of path.entries()) {
    const has = typeof value === 'object' && value !== null && Object.hasOwn(value, key);
    if (!has) {
      const whole = isItem ? 'the item' : 'the sample';
      const at =
        depth === 0 ? whole : `${path.slice(0, depth).join('.').slice(0, 100)} of ${whole}`;
      const message = nothing(param, name, `${at} ${contents(value)}`);
      throw isItem ? new DomainError('invalid_value', message, param) : new SampleLacks(message);
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
    throw new SampleLacks(nothing(param, name, 'the sample is not JSON'));
  }
}

const nothing = (param: string, name: string, known: string): string =>
  `${param}: nothing is called {{${name.trim().slice(0, 100)}}}; ${known}`;

const unknown = (param: string, name: string, known: string): DomainError =>
  new DomainError('invalid_value', nothing(param, name, known), param);

export const tooLong = (param: string): DomainError =>
  new DomainError(
    'request_too_large',
    `${param}: with what it names put in, it is longer than ${grouped(MOST_RENDERED)} characters, which is the limit`,
    param,
  );
