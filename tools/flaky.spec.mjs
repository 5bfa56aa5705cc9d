import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { overdue, readLedger, record } from './flaky.mjs';

const LEDGER = fileURLToPath(new URL('../test/flaky.json', import.meta.url));

it('lists no flaky test for longer than two weeks', () => {
  const today = new Date().toISOString().slice(0, 10);
  expect(overdue(readLedger(LEDGER), today)).toEqual([]);
});

describe('a ledger', () => {
  let folder;
  let path;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'graft-flaky-'));
    path = join(folder, 'test/flaky.json');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const late = { file: 'a.spec.ts', test: 'is late', symptom: 'not within 15000 ms' };

  it('is empty until a test passes on its second try', () => {
    record(path, [], '2026-11-30');
    expect(readLedger(path)).toEqual([]);
  });

  it('keeps the date on which a test was first seen', () => {
    record(path, [late], '2026-11-30');
    record(
      path,
      [
        { ...late, symptom: 'another' },
        { ...late, test: 'is lost' },
      ],
      '2026-12-05',
    );
    expect(readLedger(path)).toEqual([
      { date: '2026-11-30', ...late },
      { date: '2026-12-05', ...late, test: 'is lost' },
    ]);
  });

  it('has overdue entries after 14 days, or immediately without a valid date', () => {
    const entries = ['2026-11-30', '2026-11-29', 'yesterday'].map((date) => ({ date, ...late }));
    expect(overdue(entries, '2026-12-14').map(({ date }) => date)).toEqual([
      '2026-11-29',
      'yesterday',
    ]);
  });
});
