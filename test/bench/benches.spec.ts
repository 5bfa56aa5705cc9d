// Runs the control plane benchmarks at a small size, so that a change of the protocol or the API that breaks
// them is noticed. The measured values are not checked.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { listens, POSTGRES, POSTGRES_PORT } from '../../apps/api/test/test-databases.js';

const run = promisify(execFile);
const hasPostgres = await listens(POSTGRES_PORT);

it.skipIf(!hasPostgres).each([
  {
    bench: 'api.mjs',
    sizes: [
      '--jobs',
      '20',
      '--clients',
      '2',
      '--upload-mb',
      '1',
      '--chats',
      '20',
      '--listed',
      '200',
    ],
    lines: ['create job ', 'upload ', 'start ', 'chat ', 'list 20 jobs '],
  },
  {
    bench: 'load.mjs',
    sizes: '--seconds 1 --clients 2 --queued 50 --workers 5 --running 5 --streams 2'.split(' '),
    lines: ['submit ', 'queue ', 'metrics '],
  },
  {
    bench: 'streams.mjs',
    sizes: ['--watchers', '20', '--jobs', '2', '--seconds', '1'],
    lines: ['20 watchers of 2 jobs on two API processes'],
  },
])('$bench runs to completion', async ({ bench, sizes, lines }) => {
  const file = fileURLToPath(new URL(bench, import.meta.url));
  const { stdout } = await run(process.execPath, [file, '--database', POSTGRES, ...sizes]);
  const printed = stdout.split('\n');
  expect(lines.filter((line) => !printed.some((one) => one.startsWith(line)))).toEqual([]);
});
