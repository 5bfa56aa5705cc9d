import type { JobPreviewObject } from '../http/graft-api.js';

/** What a job comes to, for one line of text. */
export interface PlanFigures {
  readonly examples: number;
  readonly passes: number;
  readonly steps: number;
  /** Null where it is not known. */
  readonly seconds: number | null;
  readonly trainable: number | null;
  readonly total: number | null;
}

/** "12 examples · 9 passes · 108 steps · about 40 s · 4.9 M of 134.5 M parameters", alike wherever a plan is shown. */
export function planLine({
  examples,
  passes,
  steps,
  seconds,
  trainable,
  total,
}: PlanFigures): string {
  const parts = [
    count(examples, 'example', 'examples'),
    count(passes, 'pass', 'passes'),
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
 * What a job takes of a worker's memory: "about 1.1 GB", and "112 MB of base in nf4, up to 0.7 GB for the run"; null where
 * that is not known.
 * @param bytes how a size is written
 */
export function memoryText(
  { memory, graft }: Pick<JobPreviewObject, 'memory' | 'graft'>,
  bytes: (size: number) => string,
): { readonly total: string; readonly parts: string } | null {
  if (!memory) return null;
  const { base_bytes: base, run_bytes: run, process_bytes: total } = memory;
  const { gradient_checkpointing_spares_bytes: spared } = memory;
  const held = graft.quantization ?? graft.base_dtype;
  const parts = `${bytes(base)} of base${held ? ` in ${held}` : ''}, up to ${bytes(run)} for the run`;
  const isWorthTelling = spared > TELLING_SHARE * total;
  return {
    total: `about ${bytes(total)}`,
    parts: `${parts}${isWorthTelling ? `; gradient_checkpointing would spare ${bytes(spared)}` : ''}`,
  };
}

/** What is spared is worth telling above this share. */
const TELLING_SHARE = 0.2;

const count = (n: number, one: string, many: string): string =>
  `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

/** A time as people say it: two digits at most. */
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

/** Letters that are told by themselves; what follows is told by number. */
const TOLD = 60;

/**
 * "12 of its own: a b c …": the letters that a job of task `ctc` makes for itself, without the space between words; null
 * where it has those of its base, or none.
 * @param graft of a job or a plan
 */
export function lettersText(graft: Readonly<Record<string, unknown>>): string | null {
  const { letters } = (graft['task_options'] ?? {}) as { readonly letters?: readonly string[] };
  if (!Array.isArray(letters)) return null;
  const all = (letters as readonly string[]).filter((letter) => letter !== ' ');
  const more = all.length > TOLD ? ` … and ${amountOf(all.length - TOLD)} more` : '';
  return `${amountOf(all.length)} of its own: ${all.slice(0, TOLD).join(' ')}${more}`;
}

const amountOf = (n: number): string => n.toLocaleString('en');
