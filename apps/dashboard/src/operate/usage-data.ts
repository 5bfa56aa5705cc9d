// Usage of projects or models over time: adds up what the API returns per bucket.
import type { InferenceUsagePage, TrainingUsagePage } from '@graft/contracts';

export const MEASURES = ['training_seconds', 'trained_tokens', 'jobs', 'model_tokens'] as const;
export type Measure = (typeof MEASURES)[number];

export type Amounts = Readonly<Record<Measure, number>> & {
  readonly jobs_failed: number;
  readonly requests: number;
};

/** Usage of one project or model in one bucket. Times are Unix seconds. */
export interface UsageRow extends Amounts {
  readonly start: number;
  readonly group: string;
}

export const NOTHING: Amounts = {
  training_seconds: 0,
  trained_tokens: 0,
  jobs: 0,
  model_tokens: 0,
  jobs_failed: 0,
  requests: 0,
};

const AMOUNTS = Object.keys(NOTHING) as readonly (keyof Amounts)[];

export const sum = (a: Amounts, b: Amounts): Amounts =>
  Object.fromEntries(AMOUNTS.map((name) => [name, a[name] + b[name]])) as unknown as Amounts;

export interface Usage {
  /** Starts of all buckets, oldest first. */
  readonly starts: readonly number[];
  readonly rows: readonly UsageRow[];
  /** Groups with their totals, largest first. */
  readonly totals: readonly (readonly [group: string, amounts: Amounts])[];
}

type Key = 'project_id' | 'model';

/** Name of usage whose model or project is unknown. */
const UNKNOWN = '–';

/** Joins usage of training and of models by bucket and group. */
export function usageOf(
  training: TrainingUsagePage['data'],
  inference: InferenceUsagePage['data'],
  by: Key,
): Usage {
  const rows = new Map<string, UsageRow>();
  const add = (start: number, group: string | null, amounts: Partial<Amounts>) => {
    const key = `${start} ${group}`;
    const before = rows.get(key) ?? NOTHING;
    rows.set(key, { ...sum(before, { ...NOTHING, ...amounts }), start, group: group ?? UNKNOWN });
  };
  for (const { start_time: start, results } of training)
    for (const one of results)
      add(start, one[by], {
        training_seconds: one.training_seconds,
        trained_tokens: one.trained_tokens,
        jobs: one.jobs_created,
        jobs_failed: one.jobs_failed,
      });
  for (const { start_time: start, results } of inference)
    for (const one of results)
      add(start, one[by], {
        model_tokens: one.input_tokens + one.output_tokens,
        requests: one.num_model_requests,
      });
  const starts = [...new Set([...training, ...inference].map(({ start_time: start }) => start))];
  const totals = new Map<string, Amounts>();
  for (const row of rows.values())
    totals.set(row.group, sum(totals.get(row.group) ?? NOTHING, row));
  return {
    starts: starts.sort((a, b) => a - b),
    rows: [...rows.values()],
    totals: [...totals].sort(
      ([, a], [, b]) =>
        b.training_seconds - a.training_seconds ||
        b.model_tokens - a.model_tokens ||
        b.jobs - a.jobs,
    ),
  };
}

/** Returns the usage as a table for spreadsheets: a line for each bucket and group. */
export function usageCsv({ rows }: Usage, by: Key, nameOf: (group: string) => string): string {
  const head = ['start', by === 'model' ? 'model' : 'project', ...AMOUNTS].join(',');
  const lines = [...rows]
    .sort((a, b) => a.start - b.start || a.group.localeCompare(b.group))
    .map((row) =>
      [
        new Date(row.start * 1000).toISOString(),
        quoted(nameOf(row.group)),
        ...AMOUNTS.map((name) => String(Math.round(row[name] * 1000) / 1000)),
      ].join(','),
    );
  return `${[head, ...lines].join('\n')}\n`;
}

/** Quotes a value for CSV, and marks one that a spreadsheet would take for a formula as text. */
function quoted(value: string): string {
  const text = /^[=+\-@]/.test(value) && value !== UNKNOWN ? `'${value}` : value;
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
