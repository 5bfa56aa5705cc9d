// The short form of run.mjs, and a check that it detects planted faults.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const fuzz = (...flags: string[]) =>
  spawnSync(process.execPath, [join(import.meta.dirname, 'run.mjs'), ...flags], {
    encoding: 'utf8',
  });

it('no parser violates its rules on untrusted input', () => {
  const { stdout, stderr, status } = fuzz('--iterations', '200', '--seed', '20261126');
  expect(stderr).toBe('');
  expect(status).toBe(0);
  const rows = stdout.split('\n').filter((line) => /\| \d+ \|/.test(line));
  expect(rows.length).toBeGreaterThan(readdirSync(join(import.meta.dirname, 'targets')).length);
  for (const row of rows) {
    const [name, iterations, accepted, refused, findings] = row.split('|').slice(1).map((cell) => cell.trim()); // prettier-ignore
    expect(findings, name).toBe('0');
    expect(Number(accepted) + Number(refused), name).toBe(Number(iterations));
    // A parser that accepts or rejects everything was not tested.
    if (Number(iterations) < 100) continue;
    expect(Number(accepted), name).toBeGreaterThan(0);
    expect(Number(refused), name).toBeGreaterThan(0);
  }
});

it('detects planted violations', () => {
  const planted = join(import.meta.dirname, 'planted.mjs');
  const { stdout, stderr, status } = fuzz('--iterations', '30', '--targets', planted);
  expect(status).toBe(1);
  expect(stdout).toMatch(/\| throws something else \| 30 \| 0 \| 0 \| 30 \|/);
  expect(stdout).toMatch(/\| takes long \| 3 \| 0 \| 0 \| 3 \|/);
  expect(stdout).toMatch(/\| takes memory \| 3 \| 0 \| 0 \| 3 \|/);
  expect(stdout).toMatch(/\| inherits \| 30 \| 0 \| 0 \| 30 \|/);
  expect(stderr).toMatch(/throws something else, iteration 0: threw TypeError/);
  expect(stderr).toMatch(/changes a prototype changed a prototype/);
});
