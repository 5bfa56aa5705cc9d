import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { TrainerProcess } from './client.js';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'graft-client-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function script(name: string, text: string): TrainerProcess {
  const main = join(folder, `${name}.mjs`);
  writeFileSync(main, text);
  return new TrainerProcess({ threads: 1, main });
}

it('ends a trainer on whose stdout something else writes, as a crash of that trainer alone', async () => {
  const trainer = script(
    'noisy',
    `process.stdout.write('a library says hello\\n'); setInterval(() => undefined, 1000);`,
  );
  const exit = await trainer.exited;
  expect(exit).toMatchObject({ class: 'crash', retryable: true, signal: 'SIGKILL' });
  expect(exit.stderrTail).toContain('something else than frames');
});
