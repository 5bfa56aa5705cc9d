import type { JobPreviewObject } from '../http/graft-api.js';

/** Figures of a training plan. */
export interface PlanFigures {
  readonly examples: number;
  readonly epochs: number;
  readonly steps: number;
  /** Estimated duration; null if unknown. */
  readonly seconds: number | null;
  readonly trainable: number | null;
  readonly total: number | null;
}

/** Returns "12 examples · 9 epochs · 108 steps · about 40 s · 4.9 M of 134.5 M parameters". */
export function planLine({
  examples,
  epochs,
  steps,
  seconds,
  trainable,
  total,
}: PlanFigures): string {
  const parts = [
    count(examples, 'example', 'examples'),
    count(epochs, 'epoch', 'epochs'),
    count(steps, 'step', 'steps'),
  ];
  if (seconds !== null) parts.push(`about ${roughly(seconds)}`);
  if (trainable !== null) {
    const of = total === null ? '' : ` of ${amount(total)}`;
    parts.push(`${amount(trainable)}${of} parameters`);
  }
  return parts.join(' · ');
}

/**
 * Returns a job's memory on a worker: "about 1.1 GB" in total, and "112 MB for the base in nf4, up to 0.7 GB for the run";
 * null if unknown.
 * @param bytes formats a size
 */
export function memoryText(
  { memory, graft }: Pick<JobPreviewObject, 'memory' | 'graft'>,
  bytes: (size: number) => string,
): { readonly total: string; readonly parts: string } | null {
  if (!memory) return null;
  const { base_bytes: base, run_bytes: run, process_bytes: total } = memory;
  const { gradient_checkpointing_spares_bytes: saving } = memory;
  const storedAs = graft.quantization ?? graft.base_dtype;
  const parts = `${bytes(base)} for the base${storedAs ? ` in ${storedAs}` : ''}, up to ${bytes(run)} for the run`;
  const isNotable = saving > NOTABLE_SHARE * total;
  return {
    total: `about ${bytes(total)}`,
    parts: `${parts}${isNotable ? `; gradient_checkpointing would save ${bytes(saving)}` : ''}`,
  };
}

/** Minimum saving to mention, as a fraction of the total. */
const NOTABLE_SHARE = 0.2;

const count = (n: number, one: string, many: string): string =>
  `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

/** Returns a duration with at most two significant digits, such as "40 s" or "12 min". */
export function roughly(seconds: number): string {
  if (seconds < 20) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 100) return `${Math.round(seconds / 10) * 10} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 72 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** 4884480 → "4.9 M" */
export function amount(n: number): string {
  if (n < 1000) return String(n);
  const units = ['k', 'M', 'B', 'T'];
  let value = n / 1000;
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toFixed(1)} ${units[unit]}`;
}

/** Maximum number of characters to list. */
const MAX_LISTED = 60;

/**
 * Returns "12 characters: a b c …", the vocabulary that a job of task `ctc` builds from its texts, without the word
 * separator; null if the job uses the vocabulary of its base, or for other tasks.
 * @param graft of a job or a preview
 */
export function vocabularyText(graft: Readonly<Record<string, unknown>>): string | null {
  const { letters } = (graft['task_options'] ?? {}) as { readonly letters?: readonly string[] };
  if (!Array.isArray(letters)) return null;
  const all = (letters as readonly string[]).filter((letter) => letter !== ' ');
  const more = all.length > MAX_LISTED ? ` … and ${amountOf(all.length - MAX_LISTED)} more` : '';
  return `${amountOf(all.length)} characters: ${all.slice(0, MAX_LISTED).join(' ')}${more}`;
}

const amountOf = (n: number): string => n.toLocaleString('en');
