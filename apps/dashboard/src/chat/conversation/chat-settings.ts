// Settings of a chat, as typed and as the API expects them.
import type { Refusal } from '../../forms/field-problem.js';
import type { Message } from './exchange.js';

export const FORMATS = ['text', 'json', 'schema'] as const;
/** Format that answers must have. */
export type AnswerFormat = (typeof FORMATS)[number];
export type ToolChoice = 'auto' | 'required' | 'none';

export interface ChatSettings {
  readonly system: string;
  readonly temperature: string;
  readonly top_p: string;
  readonly max_tokens: string;
  /** Stop sequences, one per line. */
  readonly stop: string;
  readonly seed: string;
  readonly format: AnswerFormat;
  /** JSON schema of answers, for the format "schema". */
  readonly schema: string;
  /** Functions that the model may call, as JSON. */
  readonly tools: string;
  readonly toolChoice: ToolChoice;
  /** Whether to request the probability of each token. */
  readonly logprobs: boolean;
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
  format: 'text',
  schema: '',
  tools: '',
  toolChoice: 'auto',
  logprobs: false,
  markdown: true,
};

/** Number of most likely tokens that are requested for each token. */
const TOP_LOGPROBS = 5;

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
  if (settings.format === 'schema' && schemaOf(settings) === null)
    return { param: 'schema', message: 'expected a JSON schema, such as {"type":"object"}' };
  return toolsProblem(settings);
}

function toolsProblem({ tools, format }: ChatSettings): Refusal | null {
  if (tools.trim() === '') return null;
  const parsed = toolsOf(tools);
  if (parsed === null) return { param: 'tools', message: 'expected a JSON list of functions' };
  if (parsed.some((tool) => typeof tool.function['name'] !== 'string'))
    return { param: 'tools', message: 'every function needs a name' };
  if (format !== 'text')
    return { param: 'tools', message: 'tools cannot be combined with JSON answers' };
  return null;
}

interface Tool {
  readonly type: 'function';
  readonly function: Readonly<Record<string, unknown>>;
}

/**
 * Reads tools: one function or a list of functions, with or without OpenAI's `{"type":"function"}` around
 * them. Null if the text is something else.
 */
export function toolsOf(text: string): readonly Tool[] | null {
  const value = parsed(text);
  const list = Array.isArray(value) ? (value as unknown[]) : [value];
  const tools = list.map((one) => {
    if (!isObject(one)) return null;
    const inner = one['type'] === 'function' ? one['function'] : one;
    return isObject(inner) ? { type: 'function' as const, function: inner } : null;
  });
  return tools.every((tool) => tool !== null) ? tools : null;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const stops = ({ stop }: ChatSettings): string[] => stop.split('\n').filter((line) => line !== '');

function schemaOf({ schema }: ChatSettings): object | null {
  const value = parsed(schema);
  return isObject(value) ? value : null;
}

function formatOf(settings: ChatSettings): object | undefined {
  if (settings.format === 'json') return { type: 'json_object' };
  const schema = settings.format === 'schema' ? schemaOf(settings) : null;
  if (schema === null) return undefined;
  return { type: 'json_schema', json_schema: { name: 'answer', schema, strict: true } };
}

/** Number of settings that differ from their defaults. How answers are shown does not count. */
export const changes = (settings: ChatSettings): number =>
  (Object.keys(DEFAULTS) as (keyof ChatSettings)[]).filter(
    (name) =>
      !['markdown', 'toolChoice', 'schema'].includes(name) && settings[name] !== DEFAULTS[name],
  ).length;

/** Builds the request body. Fields with default values are omitted. */
export function chatBody(
  model: string,
  messages: readonly Message[],
  settings: ChatSettings,
): Record<string, unknown> {
  const number = (text: string): number | undefined =>
    text.trim() === '' ? undefined : Number(text);
  const system = settings.system.trim();
  const stop = stops(settings);
  const tools = settings.tools.trim() === '' ? null : toolsOf(settings.tools);
  const topP = number(settings.top_p);
  const changed = settings.max_tokens.trim() !== DEFAULTS.max_tokens;
  const body = {
    model,
    messages: [
      ...(system === '' ? [] : [{ role: 'system' as const, content: system }]),
      ...messages,
    ],
    temperature: number(settings.temperature),
    top_p: topP === 1 ? undefined : topP,
    max_tokens: changed ? number(settings.max_tokens) : undefined,
    seed: number(settings.seed),
    stop: stop.length > 0 ? stop : undefined,
    response_format: formatOf(settings),
    tools: tools ?? undefined,
    tool_choice: tools && settings.toolChoice !== 'auto' ? settings.toolChoice : undefined,
    logprobs: settings.logprobs || undefined,
    top_logprobs: settings.logprobs ? TOP_LOGPROBS : undefined,
  };
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}
