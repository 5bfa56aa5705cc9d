// Numbers of a step or an evaluation by name: as a worker sends them, as jsonb keeps them, as people get them.
import type { Measured } from '@graft/contracts';
import { metricsOf } from '../catalog/plugins.js';
import type { StoredValues } from '../database/entities/job.js';
import { finite } from './job-object.js';

/** As text of a jsonb column, which takes no NaN as a number. */
export function valuesText(metrics: Readonly<Record<string, number>>): string {
  if (Object.values(metrics).every(Number.isFinite)) return JSON.stringify(metrics);
  const storable = Object.entries(metrics).map(([name, value]) => [
    name,
    Number.isFinite(value) ? value : String(value),
  ]);
  return JSON.stringify(Object.fromEntries(storable));
}

/** A number of a row, NaN where it has none. */
export const valueOf = (values: StoredValues, name: string): number => Number(values[name] ?? NaN);

/** A step's or an evaluation's numbers as the API gives them. */
export function measured(step: number, values: StoredValues): Measured {
  const numbers = Object.keys(values).map((name) => [name, finite(valueOf(values, name))]);
  return { loss: null, ...Object.fromEntries(numbers), step };
}

/** As OpenAI's events and checkpoints have them: what a task's charts show, each after `prefix`. */
export function openAiValues(
  task: string,
  prefix: string,
  values: StoredValues,
): Record<string, number | null> {
  const shown = metricsOf(task).validation.filter(
    ({ name, draw }) => draw !== null && values[name] !== undefined,
  );
  return Object.fromEntries(
    shown.map(({ name, openai_name: theirs }) => [
      `${prefix}_${theirs ?? name}`,
      finite(valueOf(values, name)),
    ]),
  );
}
