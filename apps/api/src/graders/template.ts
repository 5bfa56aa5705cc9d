import { DomainError, grouped } from '@graft/contracts';

/** What `{{…}}` may name. */
export interface Grading {
  readonly item: unknown;
  readonly sample: { readonly output_text: string } | null;
}

/** `sample.output_json` of a text that is no JSON: says something of the sample, not of the request. */
export class SampleIsNotJson extends Error {}

/** Without braces in it: each character is looked at once, however many are opened. */
const NAME = /\{\{([^{}]*)\}\}/g;
/** Of a text with all that it names: as much as a template may be. */
export const MOST_RENDERED = 1_000_000;
const OF_SAMPLE = ['output_text', 'output_json'];

/** @throws DomainError where a template names what no item and no sample has */
export function checkTemplate(template: string, param: string): void {
  for (const [, name = ''] of template.matchAll(NAME)) {
    const [root, field = '', ...rest] = name.trim().split('.');
    if (root === 'item') continue;
    if (root !== 'sample')
      throw unknown(
        param,
        name,
        'templates know {{item.…}}, {{sample.output_text}} and {{sample.output_json.…}}',
      );
    if (!OF_SAMPLE.includes(field) || (field === 'output_text' && rest.length > 0))
      throw unknown(param, name, `of a sample there is ${OF_SAMPLE.join(' and ')}`);
  }
}

/**
 * Strings as they are, all else as JSON.
 * @throws DomainError where the item lacks a name, and where it comes to more than MOST_RENDERED
 * @throws SampleIsNotJson
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
  const [root, ...keys] = name.trim().split('.');
  if (root === 'sample' && sample === null)
    throw unknown(param, name, 'nothing was sampled: there is no model in the data source');
  if (root === 'sample' && keys[0] === 'output_text') return sample!.output_text;
  let value = root === 'item' ? item : parsed(sample!.output_text);
  const path = root === 'item' ? keys : keys.slice(1);
  for (const key of path) {
    const has = typeof value === 'object' && value !== null && Object.hasOwn(value, key);
    if (!has) throw unknown(param, name, has_(value, root ?? '', key));
    value = (value as Readonly<Record<string, unknown>>)[key];
  }
  return value;
}

function has_(value: unknown, root: string, key: string): string {
  if (typeof value !== 'object' || value === null)
    return `there is no ${key} in ${root}: what is there is no object`;
  const keys = Object.keys(value);
  const shown = keys.slice(0, 10).join(', ');
  return keys.length === 0
    ? 'the item is empty'
    : `there is ${shown}${keys.length > 10 ? ', …' : ''}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SampleIsNotJson();
  }
}

const unknown = (param: string, name: string, known: string): DomainError =>
  new DomainError(
    'invalid_value',
    `${param}: nothing is called {{${name.trim().slice(0, 100)}}}; ${known}`,
    param,
  );

export const tooLong = (param: string): DomainError =>
  new DomainError(
    'request_too_large',
    `${param}: with what it names put in, it is longer than ${grouped(MOST_RENDERED)} characters, which is the limit`,
    param,
  );
