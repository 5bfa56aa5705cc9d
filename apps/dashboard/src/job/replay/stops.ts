// Stops of the replay's slider, and the prompt that it suggests.
import type { CheckpointObject, JobObject } from '@graft/contracts';
import { count } from '../../format.js';

/** A state of the model during training that can be asked. */
export interface Stop {
  readonly step: number;
  readonly model: string;
  readonly name: string;
}

/**
 * Returns the base model, if it can answer, and the checkpoints with an adapter, by step. A job that continues an
 * adapter does not start from its base.
 */
export function stopsOf(
  job: JobObject,
  checkpoints: readonly CheckpointObject[],
  use: 'chat' | 'classify',
): readonly Stop[] {
  const saved = checkpoints
    .filter(({ graft, step_number: step }) => graft.usable && step > 0)
    .map((row) => ({
      step: row.step_number,
      model: row.fine_tuned_model_checkpoint,
      name: `Step ${count(row.step_number)}`,
    }))
    .toSorted((a, b) => a.step - b.step);
  if (saved.length === 0 || use === 'classify' || job.graft.init_adapter !== undefined)
    return saved;
  return [{ step: 0, model: job.model, name: 'Base model' }, ...saved];
}

/** Returns the index of the stop at a step, or of the last one before it. Null is the newest stop. */
export function indexAt(stops: readonly Stop[], step: number | null): number {
  if (step === null) return stops.length - 1;
  return Math.max(
    0,
    stops.findLastIndex((stop) => stop.step <= step),
  );
}

type Message = Readonly<Record<string, unknown>>;

const isMessage = (value: unknown): value is Message =>
  typeof value === 'object' && value !== null && 'role' in value;

/** Names of the input in records that are not chats, most likely first. */
const INPUTS = ['prompt', 'input', 'text', 'sentence', 'question', 'instruction'];

/** Messages for the model at each stop. */
export interface Prompt {
  /** Empty without a system prompt. */
  readonly system: string;
  readonly text: string;
}

const textOf = (messages: readonly Message[], role: string): string | null => {
  const content = messages.findLast((message) => message['role'] === role)?.['content'];
  return typeof content === 'string' ? content : null;
};

function asked(value: unknown): Prompt | null {
  if (typeof value === 'string') return { system: '', text: value };
  if (!Array.isArray(value)) return null;
  const messages = value.filter(isMessage);
  const text = textOf(messages, 'user');
  return text === null ? null : { system: textOf(messages, 'system') ?? '', text };
}

/** Returns what a record of the data asks the model; null if it has no such text. */
export function promptOf(record: Readonly<Record<string, unknown>>): Prompt | null {
  for (const name of ['messages', ...INPUTS]) {
    const prompt = asked(record[name]);
    if (prompt !== null && prompt.text.trim() !== '') return prompt;
  }
  return null;
}

/** Returns the first sample prompt of a job; null if it has none. */
export function samplePromptOf({ graft }: JobObject): Prompt | null {
  const [first] = graft.sample_prompts ?? [];
  return first === undefined ? null : asked(first);
}
