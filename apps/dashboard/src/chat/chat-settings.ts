// Settings of a chat, as typed and as the API expects them.
import type { Refusal } from '../forms/field-problem.js';

export interface ChatSettings {
  readonly system: string;
  readonly temperature: string;
  readonly top_p: string;
  readonly max_tokens: string;
  /** Stop sequences, one per line. */
  readonly stop: string;
  readonly seed: string;
  /** JSON schema for structured output. Empty if there is none. */
  readonly schema: string;
  /** Whether answers are rendered as Markdown. */
  readonly markdown: boolean;
}

export const DEFAULTS: ChatSettings = {
  system: '',
  temperature: '0',
  top_p: '1',
  max_tokens: '256',
  stop: '',
  seed: '',
  schema: '',
  markdown: true,
};

export interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

const NUMBERS: readonly (readonly [keyof ChatSettings, number, number, boolean])[] = [
  ['temperature', 0, 2, false],
  ['top_p', 0, 1, false],
  ['max_tokens', 1, 32_768, true],
  ['seed', 0, Number.MAX_SAFE_INTEGER, true],
];

/** Returns the first invalid field with its error. */
export function settingsProblem(settings: ChatSettings): Refusal | null {
  for (const [name, min, max, isWhole] of NUMBERS) {
    const text = String(settings[name]).trim();
    const value = Number(text);
    const isGood = value >= min && value <= max && (!isWhole || Number.isInteger(value));
    if (text === '' || isGood) continue;
    const kind = isWhole ? 'a whole number' : 'a number';
    const range = max > 1e9 ? `${kind} of ${min} or more` : `${kind} from ${min} to ${max}`;
    return { param: name, message: `expected ${range}` };
  }
  if (stops(settings).length > 4) return { param: 'stop', message: 'expected at most 4 lines' };
  if (settings.schema.trim() !== '' && schemaOf(settings) === null)
    return { param: 'schema', message: 'expected a JSON object' };
  return null;
}

const stops = ({ stop }: ChatSettings): string[] => stop.split('\n').filter((line) => line !== '');

function schemaOf({ schema }: ChatSettings): object | null {
  try {
    const value: unknown = JSON.parse(schema);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** Builds the request body. Fields with default values are omitted. */
export function chatBody(
  model: string,
  turns: readonly Message[],
  settings: ChatSettings,
): Record<string, unknown> {
  const number = (text: string): number | undefined =>
    text.trim() === '' ? undefined : Number(text);
  const system = settings.system.trim();
  const nonEmpty = turns.filter(({ content }) => content !== '');
  const stop = stops(settings);
  const schema = schemaOf(settings);
  const topP = number(settings.top_p);
  const changed = settings.max_tokens.trim() !== DEFAULTS.max_tokens;
  const body = {
    model,
    messages: [
      ...(system === '' ? [] : [{ role: 'system' as const, content: system }]),
      ...nonEmpty.map(({ role, content }) => ({ role, content })),
    ],
    temperature: number(settings.temperature),
    top_p: topP === 1 ? undefined : topP,
    max_tokens: changed ? number(settings.max_tokens) : undefined,
    seed: number(settings.seed),
    stop: stop.length > 0 ? stop : undefined,
    response_format: schema
      ? { type: 'json_schema', json_schema: { name: 'answer', schema, strict: true } }
      : undefined,
  };
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}
