import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Spec } from '@graft/contracts';
import { TrainerProcess } from './trainer-process.js';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'graft-client-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function script(name: string, text: string): TrainerProcess {
  const main = join(folder, `${name}.mjs`);
  writeFileSync(main, text);
  return new TrainerProcess({ threads: 1, main });
}

it('kills a trainer with other data on stdout, as a crash of that trainer only', async () => {
  const trainer = script(
    'noisy',
    `process.stdout.write('a library says hello\\n'); setInterval(() => undefined, 1000);`,
  );
  const exit = await trainer.exited;
  expect(exit).toMatchObject({ class: 'crash', signal: 'SIGKILL' });
  expect(exit.stderrTail).toContain('data other than frames');
});

it('kills a trainer whose listener throws, as a crash of that trainer only', async () => {
  const main = fileURLToPath(new URL('../../test/small-trainer.mjs', import.meta.url));
  const trainer = new TrainerProcess({ threads: 1, main });
  trainer.on('pong', () => {
    throw new RangeError('too deep');
  });
  await trainer.ready;
  trainer.send({ type: 'ping', sequence: 1 });
  const exit = await trainer.exited;
  expect(exit).toMatchObject({ class: 'crash', signal: 'SIGKILL' });
  expect(exit.stderrTail).toContain('too deep');
});

it('waits longer for the first step of a run than for the next one', async () => {
  const trainer = new TrainerProcess({
    threads: 1,
    main: fileURLToPath(new URL('../../test/small-trainer.mjs', import.meta.url)),
  });
  const factReceived = (kind: 'pong' | 'step') =>
    new Promise<void>((resolve) => {
      trainer.onFact((fact) => {
        if (kind === (fact.type === 'event' ? fact.kind : fact.type)) resolve();
      });
    });
  const run = { jobId: 'j', attempt: 1, spec: { seed: 1 } as Spec, workDir: folder };
  const base = { baseId: 'b', baseName: 'b' };
  const files = { validFile: null, initAdapterDir: null, checkpointDir: null };
  const trainFile = join(folder, 'plan.json');
  writeFileSync(trainFile, JSON.stringify({ steps: 100_000, stepMs: 5, firstStepMs: 300 }));
  const firstStep = factReceived('step');
  const pong = factReceived('pong');
  trainer.send({ type: 'start', ...run, ...base, ...files, trainFile });
  trainer.send({ type: 'ping', sequence: 1 });
  await pong;
  // It responds, but its first step has not finished.
  expect(trainer.patienceMs).toBe(15 * 60_000);
  await firstStep;
  expect(trainer.patienceMs).toBe(60_000);
  trainer.kill();
  await trainer.exited;
});

it('notifies subscribed exit listeners only', async () => {
  const trainer = script('short', `process.exit(3);`);
  const notified: string[] = [];
  trainer.onExit(() => notified.push('waits'));
  trainer.onExit(() => notified.push('left'))();
  await trainer.exited;
  await Promise.resolve();
  expect(notified).toEqual(['waits']);
});
