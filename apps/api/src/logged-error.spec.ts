import pg from 'pg';
import { QueryFailedError } from 'typeorm';
import { expect, it } from 'vitest';
import { loggedError } from './logged-error.js';

const MARKER = 'marker-9f2c';

function refused(message: string, fields: object): QueryFailedError {
  const driver = Object.assign(new pg.DatabaseError(message, message.length, 'error'), fields);
  return new QueryFailedError('INSERT INTO job (suffix) VALUES ($1)', [MARKER], driver);
}

it('logs the table and the constraint of a rejected insert, but no value', () => {
  const error = refused('duplicate key value violates unique constraint "job_pkey"', {
    code: '23505',
    detail: `Key (suffix)=(${MARKER}) already exists.`,
    where: `COPY job, line 1: "${MARKER}"`,
    table: 'job',
    constraint: 'job_pkey',
  });
  const logged = loggedError(error);
  expect(JSON.stringify(logged)).not.toContain(MARKER);
  expect(logged).toMatchObject({
    type: 'QueryFailedError',
    message: 'duplicate key value violates unique constraint "job_pkey"',
    code: '23505',
    table: 'job',
    constraint: 'job_pkey',
    query: 'INSERT INTO job (suffix) VALUES ($1)',
  });
});

it.each([
  ['22P02', `invalid input syntax for type integer: "${MARKER}"`],
  ['22007', `invalid input syntax for type timestamp: "say "${MARKER}" twice"`],
  ['22003', `value ${MARKER} is out of range for type "integer"`],
])('logs only the SQLSTATE of %s, whose message quotes the value', (code, message) => {
  const logged = loggedError(refused(message, { code }));
  expect(JSON.stringify(logged)).not.toContain(MARKER);
  expect(logged).toMatchObject({ code, message: expect.stringContaining('a value was rejected') });
});

it('logs the stack, and the causes in the same way', () => {
  const cause = refused('x', { code: '23514', detail: `Failing row contains (${MARKER}).` });
  const logged = loggedError(new Error('could not save', { cause }));
  expect(logged).toMatchObject({ type: 'Error', message: 'could not save' });
  expect(String(logged['stack'])).toContain('logged-error.spec.ts');
  expect(logged['cause']).toMatchObject({ code: '23514', message: 'x' });
  expect(JSON.stringify(logged)).not.toContain(MARKER);
});

it('logs every error of an AggregateError, and other values as text', () => {
  const both = new AggregateError([new Error('no route'), new Error('refused')]);
  expect(loggedError(both)).toMatchObject({
    errors: [{ message: 'no route' }, { message: 'refused' }],
  });
  expect(loggedError('gone')).toEqual({ message: 'gone' });
});

it('stops at a cycle of causes', () => {
  const error: Error = new Error('a');
  error.cause = new Error('b', { cause: error });
  expect(JSON.stringify(loggedError(error)).length).toBeLessThan(20_000);
});
