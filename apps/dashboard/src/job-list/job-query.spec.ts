// @vitest-environment happy-dom
import type { JobObject } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { changedList } from './job-list.js';
import { apiQuery, fits, isFiltered, parseQuery, pathOf, type JobQuery } from './job-query.js';

const parsed = (path: string): JobQuery =>
  parseQuery(new URLSearchParams(path.replace(/^\/\??/, '')));
const usual = parsed('/');

describe('the query of the job list', () => {
  it('is written to the address and read from it', () => {
    const path = '/?q=a%20b&status=failed&model=tiny&method=LORA&kind=training&show=archived&sort=name&order=asc&group=sweep&tag=x&tag=y%26z'; // prettier-ignore
    expect(pathOf(parsed(path))).toBe(path);
    expect(parsed(path)).toMatchObject({ search: 'a b', shelf: 'archived', tags: ['x', 'y&z'] });
    expect(pathOf(usual)).toBe('/');
    expect(parsed('/?sort=colour&show=x&order=up&kind=jobs')).toEqual(usual);
  });

  it('is converted to API parameters', () => {
    expect(apiQuery(usual).toString()).toBe('archived=false&order_by=created_at&order=desc');
    expect(apiQuery(parsed('/?q=w&tag=x&tag=y&show=deleted&sort=train_loss&order=asc&group=tag')).toString()).toBe(
      'search=w&tag=x&tag=y&archived=any&deleted=true&order_by=train_loss&order=asc',
    ); // prettier-ignore
  });

  it('counts as filtered by anything but search, order and grouping', () => {
    expect(isFiltered(parsed('/?q=x&sort=name&order=asc&group=tag'))).toBe(false);
    for (const part of [
      'tag=x',
      'status=failed',
      'model=a',
      'method=full',
      'kind=export',
      'show=deleted',
    ])
      expect([part, isFiltered(parsed(`/?${part}`))]).toEqual([part, true]);
  });
});

const job = (id: string, created_at: number, graft: object = {}, more: object = {}): JobObject =>
  ({
    id,
    created_at,
    status: 'queued',
    model: 'tiny',
    peft: { peft_type: 'LORA' },
    graft: { tags: [], archived: false, restorable_until: null, ...graft },
    ...more,
  }) as unknown as JobObject;

it('finds a LoRA by the name of its variant, and as QLoRA on a quantized base model', () => {
  const dora = job(
    'a',
    1,
    { quantization: 'nf4' },
    { peft: { peft_type: 'LORA', use_dora: true } },
  );
  for (const method of ['LORA', 'lora', 'DoRA', 'QLoRA', 'QDoRA'])
    expect([method, fits(dora, parsed(`/?method=${method}`))]).toEqual([method, true]);
  for (const method of ['rsLoRA', 'full'])
    expect([method, fits(dora, parsed(`/?method=${method}`))]).toEqual([method, false]);
});

it('matches jobs by tags, state, base, method, kind and archive state', () => {
  const of = (query: string, graft: object, more?: object) => fits(job('a', 1, graft, more), parsed(query)); // prettier-ignore
  expect(of('/', {})).toBe(true);
  expect(of('/', { archived: true })).toBe(false);
  expect(of('/?show=archived', { archived: true })).toBe(true);
  expect(of('/?show=archived', { archived: true, restorable_until: 9 })).toBe(false);
  expect(of('/?show=deleted', { archived: true, restorable_until: 9 })).toBe(true);
  expect(of('/?tag=x&tag=y', { tags: ['y', 'x'] })).toBe(true);
  expect(of('/?tag=x&tag=y', { tags: ['x'] })).toBe(false);
  expect(of('/?status=failed', {})).toBe(false);
  expect(of('/?method=lora', {})).toBe(true);
  expect(of('/?method=full', {}, { peft: null })).toBe(true);
  const merge = { operation: { type: 'merge', adapters: ['a'] } };
  expect(of('/?method=full', merge, { peft: null })).toBe(false);
  expect(of('/?kind=merge', merge, { peft: null })).toBe(true);
  expect(of('/?kind=training', merge, { peft: null })).toBe(false);
  expect(of('/?kind=training', {})).toBe(true);
  expect(of('/?model=other', {})).toBe(false);
});

describe('a change of a job', () => {
  const list = [job('c', 30), job('a', 10)];
  const ids = (jobs: readonly JobObject[]) => jobs.map(({ id }) => id).join('');
  it('removes it from a list that it no longer matches, and adds it to a list sorted by newest', () => {
    expect(ids(changedList(list, job('c', 30, { archived: true }), usual, false))).toBe('a');
    expect(ids(changedList(list, job('c', 30, { restorable_until: 9 }), usual, false))).toBe('a');
    expect(ids(changedList(list, job('b', 20), usual, false))).toBe('cba');
    expect(ids(changedList(list, job('b', 20, { archived: true }), usual, false))).toBe('ca');
  });

  it('updates only the job itself in other orders', () => {
    const byName = parsed('/?sort=name');
    expect(ids(changedList(list, job('b', 20), byName, false))).toBe('ca');
    const [first] = changedList(list, job('c', 30, { tags: ['x'] }), byName, false);
    expect(first?.graft.tags).toEqual(['x']);
  });
});
