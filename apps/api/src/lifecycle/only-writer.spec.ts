import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = join(import.meta.dirname, '..');

/** Columns that decide what may happen to a job, and to which attempt. */
const OWNED = [
  'state',
  'desired_state',
  'attempt',
  'lease_owner',
  'lease_until',
  'not_before',
  'end_at_step',
  'infra_count',
  'started_at',
  'finished_at',
  'error',
  'fine_tuned_model',
  'result_files',
];

const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.spec.ts'))
  .map((name) => ({ name, text: readFileSync(join(SRC, name), 'utf8') }));

/** Columns that each `UPDATE job SET …` in the text sets, up to its WHERE, FROM or end. */
function columnsSet(text: string): string[] {
  return [...text.matchAll(/UPDATE job\s+SET\s+([\s\S]*?)(?:\bWHERE\b|\bFROM\b|`)/g)].flatMap(
    ([, assignments = '']) =>
      [...assignments.matchAll(/(?:^|,)\s*([a-z_]+)\s*=/g)].map(([, column]) => column ?? ''),
  );
}

describe('columns that decide what happens to a job', () => {
  it('are written only in this folder', () => {
    const outside = sources.filter(({ name }) => !name.startsWith('lifecycle/'));
    expect(outside.length).toBeGreaterThan(50);
    const offences = outside.flatMap(({ name, text }) =>
      columnsSet(text)
        .filter((column) => OWNED.includes(column))
        .map((column) => `${name} sets job.${column}`),
    );
    expect(offences).toEqual([]);
  });

  it('are found in the statements of this folder', () => {
    const inside = sources
      .filter(({ name }) => name.startsWith('lifecycle/'))
      .flatMap(({ text }) => columnsSet(text));
    for (const column of OWNED) expect(inside, column).toContain(column);
  });

  it('are written in SQL that names the attempt, not through the entity', () => {
    const writes = /getRepository\(Job\)\s*\.(insert|update|save|upsert|delete|remove)\b/;
    const offences = sources.filter(
      ({ name, text }) => writes.test(text) && name !== 'lifecycle/job-transitions.ts',
    );
    expect(offences.map(({ name }) => name)).toEqual([]);
  });
});
