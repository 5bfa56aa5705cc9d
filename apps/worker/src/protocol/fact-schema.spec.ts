import { expect, it } from 'vitest';
import { readFact } from './fact-schema.js';

const run = { jobId: 'j', attempt: 1 };
const log = { level: 'info', message: 'a line', code: null };
const event = (kind: string, payload: unknown, more: object = {}) => ({
  type: 'event',
  ...run,
  kind,
  payload: JSON.stringify(payload),
  ...more,
});

it('drops unknown fields of a fact', () => {
  const failed = { type: 'loadFailed', code: 'from a newer trainer', message: 'no' };
  expect(readFact({ ...failed, dir: '/etc' })).toEqual(failed);
});

it('reads an event and keeps the JSON text of its payload', () => {
  const written = event('log', { ...log, dir: '/etc' });
  expect(readFact(written)).toEqual({
    type: 'event',
    ...run,
    kind: 'log',
    payload: log,
    json: written.payload,
  });
});

it.each([
  [null, 'invalid fact: Invalid input: expected object, received null'],
  [{ type: 'toString' }, /^invalid fact: type: /],
  [
    { type: 'pong', sequence: -1 },
    'invalid fact "pong": sequence: Too small: expected number to be >=0',
  ],
  [event('log', log, { jobId: 'x'.repeat(1001) }), /^invalid fact "event": jobId: /],
  [event('log', log, { attempt: undefined }), /^invalid fact "event": attempt: /],
  [event('log', log, { payload: log }), /^invalid fact "event": payload: /],
  [event('toString', log), 'unknown event kind "toString"'],
  [event('log', { ...log, level: 'loud' }), /^log.level: /],
])('rejects %j', (message, complaint) => {
  expect(() => readFact(message)).toThrow(complaint);
});
