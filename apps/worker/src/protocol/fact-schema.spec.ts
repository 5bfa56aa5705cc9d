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

it('reads a fact without the fields that it does not know', () => {
  const failed = { type: 'loadFailed', code: 'from a newer trainer', message: 'no' };
  expect(readFact({ ...failed, dir: '/etc' })).toEqual(failed);
});

it('reads an event, and keeps its payload as it was written', () => {
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
  [null, 'not a fact: Invalid input: expected object, received null'],
  [{ type: 'toString' }, /^not a fact: type: /],
  [
    { type: 'pong', sequence: -1 },
    'the fact "pong": sequence: Too small: expected number to be >=0',
  ],
  [event('log', log, { jobId: 'x'.repeat(1001) }), /^the fact "event": jobId: /],
  [event('log', log, { attempt: undefined }), /^the fact "event": attempt: /],
  [event('log', log, { payload: log }), /^the fact "event": payload: /],
  [event('toString', log), 'no event is of the kind "toString"'],
  [event('log', { ...log, level: 'loud' }), /^log.level: /],
])('refuses %j', (message, complaint) => {
  expect(() => readFact(message)).toThrow(complaint);
});
