import { setMaxListeners } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { faultOf } from '../faults.js';
import { confined, type Confined } from './confined-process.js';

const dir = mkdtempSync(join(tmpdir(), 'graft-confined-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Returns what a program wrote, and its remarks. */
async function run(
  program: string,
  more: Partial<Confined> = {},
): Promise<{ output: string; remarks: string | null }> {
  const script = join(dir, 'program.mjs');
  writeFileSync(script, program);
  let remarks: string | null = null;
  const parts: Buffer[] = [];
  const order = {
    owner: 'proj-other',
    script,
    arguments: [],
    path: script,
    gone: new AbortController().signal,
    deadlineMs: 20_000,
    failure: (reason: string) => new Error(`failed: ${reason}`),
    remarks: (said: string) => void (remarks = said),
    ...more,
  };
  for await (const part of confined(order)) parts.push(part);
  return { output: Buffer.concat(parts).toString(), remarks };
}

it('takes the last line of stderr as the remarks, even after warnings of a library', async () => {
  const program = `process.stderr.write('VIPS-WARNING: unknown tag'); process.stdout.write('rows'); process.stderr.write('\\n{"notes":[]}');`;
  expect(await run(program)).toEqual({ output: 'rows', remarks: '{"notes":[]}' });
});

it('fails with the message of the program', async () => {
  const program = `process.stderr.write('it is damaged'); process.exitCode = 1;`;
  await expect(run(program)).rejects.toThrow('failed: it is damaged');
});

it('reports an outage, not a bad file, if the process cannot be started', async () => {
  // Longer than the maximum length of an argument (E2BIG).
  const start = run('', { arguments: ['x'.repeat(2 ** 18)] });
  const error: unknown = await start.catch((reason: unknown) => reason);
  expect([faultOf(error, 'own'), error]).toMatchObject(['readers', { code: 'unavailable' }]);
});

it('a project whose files never finish blocks neither another project nor its own short reads', async () => {
  const slow = join(dir, 'slow.mjs');
  writeFileSync(slow, `process.stdout.write('started'); setInterval(() => {}, 1000);`);
  const leaving = new AbortController();
  setMaxListeners(0, leaving.signal);
  let begin = (): void => undefined;
  const started = new Promise<void>((resolve) => (begin = resolve));
  const order = {
    owner: 'proj-slow',
    script: slow,
    arguments: [],
    path: slow,
    gone: leaving.signal,
    deadlineMs: 60_000,
    failure: (reason: string) => new Error(reason),
  };
  const read = async (): Promise<void> => {
    for await (const _ of confined(order)) begin();
  };
  const ends = Array.from({ length: 40 }, () =>
    read().catch((error: Error) => (faultOf(error, 'own') === 'readers' ? error.message : '')),
  );
  try {
    await started;
    expect((await run(`process.stdout.write('rows')`)).output).toBe('rows');
    for (const kind of ['adapter', 'import'] as const) {
      const look = { owner: 'proj-slow', kind };
      expect((await run(`process.stdout.write('facts')`, look)).output).toBe('facts');
    }
  } finally {
    leaving.abort();
  }
  const messages = (await Promise.all(ends)).filter((end) => /for this project/.test(end ?? ''));
  // Of 40, one ran and 16 waited.
  expect(messages).toHaveLength(23);
});

it('the inspection of a base that never finishes does not block adapters, nor one adapter another project’s', async () => {
  const slow = join(dir, 'look.mjs');
  writeFileSync(slow, `process.stdout.write('started'); setInterval(() => {}, 1000);`);
  const leaving = new AbortController();
  const begin = (owner: string, kind: 'adapter' | 'import') => {
    const failure = (reason: string) => new Error(reason);
    const order = { owner, kind, script: slow, arguments: [], path: slow, failure };
    return confined({ ...order, gone: leaving.signal, deadlineMs: 60_000 });
  };
  const looks = [begin('imports', 'import'), begin('proj-slow', 'adapter')];
  try {
    for (const look of looks) await look.next();
    const look = { owner: 'proj-other', kind: 'adapter' } as const;
    expect((await run(`process.stdout.write('facts')`, look)).output).toBe('facts');
  } finally {
    leaving.abort();
  }
  for (const look of looks) await expect(look.next()).rejects.toThrow(/abort/);
});
