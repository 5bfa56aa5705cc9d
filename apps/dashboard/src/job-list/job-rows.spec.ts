import type { JobObject } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import type { Grouping } from './job-query.js';
import { linesOf, nested, sharedName } from './job-rows.js';

const job = (id: string, graft: object = {}, more: object = {}): JobObject =>
  ({
    id,
    status: 'succeeded',
    model: 'tiny',
    fine_tuned_model: `ft:${id}`,
    ...more,
    graft: {
      name: id,
      tags: [],
      sweep: null,
      operation: null,
      best: null,
      best_score: null,
      train_loss: null,
      ...graft,
    },
  }) as unknown as JobObject;
const exported = (id: string, model: string) =>
  job(id, { operation: { type: 'export', format: 'gguf', adapters: [model] } });

describe('operations on adapters', () => {
  const text = (jobs: JobObject[]) =>
    nested(jobs).map(({ job: { id }, isNested }) => (isNested ? `> ${id}` : id));

  it('are listed beneath the job that trained the adapter', () =>
    expect(text([exported('e2', 'ft:b'), job('a'), exported('e1', 'ft:b:ckpt-step-5'), job('b')])).toEqual(['a', 'b', '> e2', '> e1'])); // prettier-ignore

  it('keep their place if that job is not listed', () =>
    expect(text([job('a'), exported('e1', 'ft:x')])).toEqual(['a', 'e1']));
});

describe('groups', () => {
  const sweep = { id: 's', trial: 1 };
  const trials = [
    job('t1', { sweep, name: 'ranks · r 2', best: { step: 1, valid_loss: 2 } }),
    job('t2', { sweep, name: 'ranks · r 4', best: { step: 1, valid_loss: 1 } }),
    job('t3', { sweep, name: 'ranks · r 8' }, { status: 'running' }),
  ];
  const lines = (jobs: JobObject[], by: Grouping, open: string[] = []) =>
    linesOf(jobs, { by, isOpen: (key) => open.includes(key), names: new Map() });

  it('sum up a sweep, and are named after it', () => {
    const [group, single] = lines([job('a'), ...trials], 'sweep');
    expect(group).toMatchObject({
      kind: 'group',
      name: 'ranks · r',
      running: 1,
      failed: 0,
      best: { value: '1.000', name: 'val loss' },
    });
    // Jobs without a sweep are last.
    expect(single).toMatchObject({ name: 'Single jobs', value: '' });
  });

  it('list their jobs while open', () =>
    expect(lines(trials, 'sweep', ['sweep:s']).map(({ key }) => key)).toEqual([
      'sweep:s',
      'sweep:s/t1',
      'sweep:s/t2',
      'sweep:s/t3',
    ]));

  it('have a job once for each of its tags', () => {
    const found = lines([job('a', { tags: ['x', 'y'] }), job('b', { tags: ['y'] })], 'tag');
    expect(found.map((line) => line.kind === 'group' && [line.name, line.jobs.length])).toEqual([
      ['x', 1],
      ['y', 2],
    ]);
  });
});

it('finds the name that trials share', () => {
  expect(sharedName(['tickets · LoRA', 'tickets · IA3'])).toBe('tickets');
  expect(sharedName(['one'])).toBe('one');
  expect(sharedName([])).toBe('');
});
