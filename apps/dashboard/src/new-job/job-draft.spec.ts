import type { Catalog, CatalogMethod, CatalogTask, FileObject, JobObject } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import { BLANK, bodyOf, draftOf, type Draft } from './job-draft.js';

const properties = { sample_prompts: { type: 'array' }, eval_steps: { type: 'integer' } };
const task = (name: string, use: string) =>
  ({ name, use, method: 'supervised', stacks: ['decoder'], schema: {} }) as unknown as CatalogTask;
const tasks = [task('causal-lm', 'chat'), task('seq-cls', 'classify')] as const;
const catalog = { tasks, methods: [], graft_schema: { properties } } as unknown as Catalog;
const method = { peft_type: 'LORA', schema: {} } as unknown as CatalogMethod;
const file = (format: string) => ({ graft: { formats: { [format]: 9 } } }) as unknown as FileObject;

const user = (content: string) => [{ role: 'user', content }];
const made = (draft: Draft, of: FileObject | undefined, chosen: CatalogTask = tasks[0]) =>
  bodyOf(draft, { method, task: chosen, file: of }, catalog);
const job = (sample_prompts: unknown, integrations: object[] | null = null) =>
  ({
    model: 'tiny',
    training_file: 'file-1',
    seed: 42,
    integrations,
    method: { type: 'supervised', supervised: { hyperparameters: {} } },
    peft: { peft_type: 'LORA' },
    graft: { sample_prompts, eval_steps: 4 },
  }) as unknown as JobObject;

describe('sample prompts of the form', () => {
  const typed = { ...BLANK, graft: { sample_prompts: 'one\n\ntwo', eval_steps: '4' } };

  it('are messages or text, depending on the training file', () => {
    const prompts = (of?: FileObject) => (made(typed, of)['graft'] as object) as Record<string, unknown>; // prettier-ignore
    expect(prompts(file('messages'))['sample_prompts']).toEqual([user('one'), user('two')]);
    expect(prompts(file('text'))['sample_prompts']).toEqual(['one', 'two']);
    expect(prompts()['sample_prompts']).toEqual(['one', 'two']);
  });

  it('are omitted for tasks without the field', () =>
    expect(made(typed, file('messages'), tasks[1])['graft']).toEqual({
      task: 'seq-cls',
      eval_steps: 4,
    }));

  it.each([
    ['messages of a user, of chats', [user('one'), user('two')], 'messages', 'one\ntwo'],
    ['texts, of texts', ['one', 'two'], 'text', 'one\ntwo'],
    ['texts, of chats', ['one'], 'messages', '["one"]'],
    ['messages, of texts', [user('one')], 'text', JSON.stringify([user('one')])],
    ['some of both', ['one', user('two')], 'messages', JSON.stringify(['one', user('two')])],
    ['of several lines', ['one\ntwo'], 'text', '["one\\ntwo"]'],
    ['that looks like JSON', ['[INST] one'], 'text', '["[INST] one"]'],
  ])('survive a round trip: %s', (_, prompts, format, shown) => {
    const draft = draftOf(job(prompts), catalog, file(format));
    expect(draft.graft['sample_prompts']).toBe(shown);
    expect(made(draft, file(format))['graft']).toEqual({ eval_steps: 4, sample_prompts: prompts });
  });

  it.each([null, undefined])('are empty for a job without prompts (%s)', (none) => {
    const draft = draftOf(job(none), catalog, file('messages'));
    expect(made(draft, file('messages'))['graft']).toEqual({ eval_steps: 4 });
  });
});

it('copies the trackers of the job, which can be removed', () => {
  const mlflow = { type: 'mlflow', mlflow: { experiment: 'ours', name: null, tags: {} } };
  const sent = { status: 'done', url: 'https://mlflow.example/1', error: null };
  const draft = draftOf(job(null, [{ ...mlflow, graft: sent }]), catalog, undefined);
  expect(made(draft, undefined)['integrations']).toEqual([mlflow]);
  expect(made({ ...draft, integrations: [] }, undefined)['integrations']).toEqual([]);
  expect(made(draftOf(job(null), catalog, undefined), undefined)).not.toHaveProperty(
    'integrations',
  );
});

it('copies that a job holds nothing out', () => {
  const split = { anyOf: [{ type: 'number' }, { type: 'null' }] };
  const stratify = { anyOf: [{ enum: ['label'], type: 'string' }, { type: 'null' }] };
  const schema = {
    properties: { ...properties, validation_split: split, stratify_by_column: stratify },
  };
  const known = { ...catalog, graft_schema: schema } as unknown as Catalog;
  const initAdapter = (graft: object) => {
    const one = job(null);
    const draft = draftOf({ ...one, graft: { ...one.graft, ...graft } }, known, undefined);
    return bodyOf(draft, { method, task: tasks[0], file: undefined }, known)['graft'];
  };
  const nothing = { validation_split: null, stratify_by_column: null };
  expect(initAdapter(nothing)).toEqual({ eval_steps: 4, ...nothing });
  const some = { validation_split: 0.1, stratify_by_column: 'label' };
  // The default of tasks with labels. Other tasks reject it.
  expect(initAdapter(some)).toEqual({ eval_steps: 4, validation_split: 0.1 });
});
