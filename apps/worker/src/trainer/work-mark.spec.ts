import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { writeSync } from 'node:fs';
import { expect, it } from 'vitest';
import { IDLE, MARK_VARIABLE, WorkMark, WorkMarkFile } from './work-mark.js';

const MODULE = pathToFileURL(join(import.meta.dirname, '../../dist/trainer/work-mark.js')).href;
const RUN = { jobId: 'ftjob-1', attempt: 3 };

/** Runs code in a process with a work mark and returns the mark after its exit. */
async function markAfter(code: string): Promise<unknown> {
  const file = WorkMarkFile.open();
  const child = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `const { WorkMark } = await import('${MODULE}'); const mark = WorkMark.inherited(); ${code}`,
    ],
    { stdio: ['ignore', 'ignore', 'inherit', file.fd], env: { [MARK_VARIABLE]: '1' } },
  );
  await once(child, 'close');
  return file.take();
}

it.each([
  ['a SIGKILL', `process.kill(process.pid, 'SIGKILL')`],
  ['a segmentation fault', `process.kill(process.pid, 'SIGSEGV')`],
  ['an abort', 'process.abort()'],
  ['an exit', 'process.exit(1)'],
])('survives %s', async (_, end) => {
  const run = JSON.stringify(RUN);
  expect(await markAfter(`mark.runs([${run}]); ${end}`)).toEqual({
    kind: 'runs',
    keys: ['ftjob-1/3'],
  });
});

it('returns only the latest work, also after a longer record', async () => {
  const file = WorkMarkFile.open();
  const mark = new WorkMark(file.fd);
  const many = Array.from({ length: 300 }, (_, n) => ({ jobId: `ftjob-${n}`, attempt: n }));
  mark.runs(many);
  mark.runs([RUN]);
  mark.runs(many.slice(0, 2));
  expect(file.take()).toEqual({ kind: 'runs', keys: ['ftjob-0/0', 'ftjob-1/1'] });

  for (const kind of ['answers', 'base', 'idle'] as const) {
    const next = WorkMarkFile.open();
    const other = new WorkMark(next.fd);
    other.runs([RUN]);
    other[kind]();
    expect(next.take()).toEqual({ kind });
  }
});

it('returns idle for too many runs, an empty file or invalid content', () => {
  const crowd = WorkMarkFile.open();
  const mark = new WorkMark(crowd.fd);
  mark.runs([RUN]);
  mark.runs(Array.from({ length: 9000 }, (_, n) => ({ jobId: `ftjob-${n}`, attempt: n })));
  expect(crowd.take()).toEqual(IDLE);

  expect(WorkMarkFile.open().take()).toEqual(IDLE);
  for (const text of [
    '',
    'null\n',
    '{"kind":"runs"}\n',
    '{"kind":"me"}\n',
    '[]\n',
    '{"kind":"runs","keys":[1]',
  ]) {
    const file = WorkMarkFile.open();
    writeSync(file.fd, text.padEnd(100, '\n'), 0);
    expect(file.take(), text).toEqual(IDLE);
    expect(file.take()).toEqual(IDLE);
  }
});

it('does nothing without a file', () => {
  new WorkMark(null).runs([RUN]);
});
