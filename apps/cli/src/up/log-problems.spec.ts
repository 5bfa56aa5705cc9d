import { expect, it } from 'vitest';
import { problemsIn } from './log-problems.js';

const at = new Date(2026, 0, 2, 3, 4, 5).getTime();
const line = (level: number, msg: string, more: object = {}): string =>
  JSON.stringify({ level, time: at, room: 'api', msg, ...more });

it('returns warnings and errors with their time and cause, and lines that are not JSON, but no access log', () => {
  const log = [
    line(30, 'control plane is up'),
    JSON.stringify({ url: 'http://127.0.0.1:8080', warnings: [] }),
    ...Array.from({ length: 20 }, () => line(30, 'request', { path: '/v1/workers', status: 200 })),
    line(40, 'REST listens on 0.0.0.0'),
    line(50, 'request failed', { err: { type: 'Error', message: 'no space left', stack: '…' } }),
    line(60, 'out of memory'),
    'the control plane could not start: port 8080 is taken',
    line(30, 'request', { path: '/v1/workers', status: 200 }),
  ].join('\n');
  expect(problemsIn(`${log}\n`, 12)).toEqual([
    '03:04:05 warning: REST listens on 0.0.0.0',
    '03:04:05 error: request failed: no space left',
    '03:04:05 error: out of memory',
    'the control plane could not start: port 8080 is taken',
  ]);
  expect(problemsIn(log, 2)).toHaveLength(2);
});

it('is empty if there are no problems', () => {
  expect(problemsIn(`${line(30, 'request')}\n`, 12)).toEqual([]);
  expect(problemsIn('', 12)).toEqual([]);
});
