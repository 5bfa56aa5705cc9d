import { join } from 'node:path';
import { mapSafetensors, matmul, mul, noGrad, select, setThreads, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configOf, refusal } from '../../test/one-linear.js';
import { attachMethod } from './frame/attach-method.js';
import { catalog, resolveSpec } from '../catalog.js';
import { taskIdProblem } from '../datasets/task-ids.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import { Generation } from '../generate/generation.js';
import type { Model } from '../models/model.js';
import { buildModel } from '../models/registry.js';
import { footprintOf } from './frame/base-footprint.js';
import type { Adapter } from './method.js';

const BASE = join(import.meta.dirname, '../../../../test/golden/llama/base/model.safetensors');
const peft = {
  peft_type: 'MULTITASK_PROMPT_TUNING',
  num_virtual_tokens: 3,
  num_tasks: 4,
  num_ranks: 2,
};

let file: ReturnType<typeof mapSafetensors>;
let model: Model;
beforeAll(() => {
  setThreads(1);
  file = mapSafetensors(BASE);
  model = buildModel(configOf('llama'), file.tensors, { dtype: 'f32', quantization: null });
});
afterAll(() => {
  model.dispose();
  file.close();
});

const attach = (more: object = {}, run = 1): Adapter =>
  attachMethod(model, { ...peft, ...more }, { run, seed: run });
const numbers = (t: Tensor | undefined): number[] => [...(t?.toArray() as Float32Array)];
const part = (adapter: Adapter, name: string): number[] => numbers(adapter.parameters.get(name));
/** Values of one task of [tasks, …]. */
const ofTask = (all: readonly number[], task: number, tasks = 4): number[] =>
  all.slice((task * all.length) / tasks, ((task + 1) * all.length) / tasks);

/** Returns hidden states of sequences, one for each of these tasks. */
function hidden(tasks: readonly number[]): Float32Array {
  const tokens = [5, 17, 42];
  const decoder = {
    inputs: Int32Array.from(tasks.flatMap(() => tokens)),
    positions: Int32Array.from(tasks.flatMap(() => [0, 1, 2])),
    sequences: tasks.map((taskId, i) => ({ run: 1, taskId, start: 3 * i, length: 3 })),
  };
  const ctx = { training: false, runs: new Map([[1, { seed: 0, step: 0 }]]) };
  return noGrad(() =>
    tidy(
      () => model.forward({ encoder: null, decoder }, ctx).decoder.hidden.toArray() as Float32Array,
    ),
  );
}

it('prepends the prompt of its task to each sequence, whatever else is in the batch', () => {
  const adapter = attach();
  const half = 3 * model.hiddenSize;
  const [three, both] = [hidden([3]), hidden([1, 3])];
  // A batch of two sums its products in another order. Observed: 5.6e-6, with GRAFT_ISA=generic; prompts differ by
  // 1e-3.
  both.subarray(half).forEach((value, i) => expect(value).toBeCloseTo(three[i] as number, 4));
  const apart = Math.max(...three.map((value, i) => Math.abs(value - (both[i] as number))));
  expect(apart).toBeGreaterThan(1e-3);
  // exported
  tidy(() => {
    const [shared, cols, rows] = ['embedding.weight', 'prefix_task_cols', 'prefix_task_rows'].map(
      (name) => adapter.parameters.get(name) as Tensor,
    ) as [Tensor, Tensor, Tensor];
    const wanted = mul(shared, matmul(select(cols, 0, 3), select(rows, 0, 3)));
    const ctx = {
      training: false,
      key: { seed: 0, step: 0 },
      module: 0,
      alone: true,
      active: null,
      scalings: null,
      tasks: () => [],
    };
    const prompt = model.modules.inputs.of(1)?.embeddings(ctx, 3);
    expect(numbers(prompt)).toEqual(numbers(wanted));
  });
  adapter.detach();
});

describe('from prompts of source tasks', () => {
  const begin = (more: object): { source: Adapter; target: Adapter } => {
    const source = attach({}, 1);
    const target = attach({ num_tasks: 1, ...more }, 2);
    tidy(() => target.load(source.exported()));
    return { source, target };
  };
  const check = (more: object, compare: (source: Adapter, target: Adapter) => void): void => {
    const { source, target } = begin(more);
    expect(part(target, 'embedding.weight')).toEqual(part(source, 'embedding.weight'));
    compare(source, target);
    // the exported config must not name a source: PEFT would look for its file
    expect(target.resolvedConfig()).toMatchObject({ prompt_tuning_init: 'RANDOM' });
    target.detach();
    source.detach();
  };

  it('a new task starts with their mean', () =>
    check({ prompt_tuning_init: 'AVERAGE_SOURCE_TASKS' }, (source, target) => {
      for (const name of ['prefix_task_cols', 'prefix_task_rows']) {
        const all = part(source, name);
        const mean = ofTask(all, 0).map(
          (_, i) => [0, 1, 2, 3].reduce((sum, t) => sum + (ofTask(all, t)[i] as number), 0) / 4,
        );
        part(target, name).forEach((value, i) => expect(value).toBeCloseTo(mean[i] as number, 6));
      }
    }));

  it('a new task starts with one of them', () =>
    check(
      { prompt_tuning_init: 'EXACT_SOURCE_TASK', prompt_tuning_init_task: 2 },
      (source, target) => {
        for (const name of ['prefix_task_cols', 'prefix_task_rows'])
          expect(part(target, name)).toEqual(ofTask(part(source, name), 2));
      },
    ));

  it('new tasks start with their shared part', () =>
    check({ prompt_tuning_init: 'ONLY_SOURCE_SHARED', num_tasks: 6 }, (source, target) => {
      const cols = part(target, 'prefix_task_cols');
      expect(cols).toHaveLength(6 * 3 * 2);
      expect(cols.slice(0, 24)).not.toEqual(part(source, 'prefix_task_cols'));
    }));

  it('is rejected if the task or the source is missing', () => {
    expect(() =>
      begin({ prompt_tuning_init: 'EXACT_SOURCE_TASK', prompt_tuning_init_task: 4 }),
    ).toThrow(
      expect.objectContaining({
        param: 'peft.prompt_tuning_init_task',
        message: 'expected a task of the source, 0 to 3, got 4',
      }) as Error,
    );
    model.modules.detach(1);
    model.modules.detach(2);
    expect(() => begin({})).toThrow(/the adapter has 4 tasks, but num_tasks is 1/);
    model.modules.detach(1);
    model.modules.detach(2);
    const from = { ...peft, num_tasks: 1, prompt_tuning_init: 'AVERAGE_SOURCE_TASKS' };
    expect(() => footprintOf(from, configOf('llama'))).toThrow(
      /set graft.init_adapter to their adapter/,
    );
    expect(footprintOf(from, configOf('llama'), true).trainableParameters).toBeGreaterThan(0);
  });
});

it.each([
  [{ prompt_tuning_init: 'AVERAGE_SOURCE_TASKS' }, 'peft.num_tasks', /expected 1 with .* got 4/],
  [{ prompt_tuning_init: 'TEXT' }, 'peft.prompt_tuning_init_text', /requires/],
  [{ num_tasks: 0 }, 'peft.num_tasks', /got 0/],
  [
    { prompt_tuning_init_state_dict_path: '/tmp/source.safetensors' },
    'peft.prompt_tuning_init_state_dict_path',
    /the server cannot read your files; set graft.init_adapter to the adapter/,
  ],
])('rejects %j, naming the field', (more, param, message) => {
  expect(refusal({ ...peft, ...more })).toMatchObject({
    param,
    message: expect.stringMatching(message) as unknown,
  });
});

it('requires records with task ids', () => {
  const method = catalog().methods.find(({ peft_type: type }) => type === peft.peft_type);
  expect(method?.tasks).toEqual(['causal_lm']);
  const body = { model: 'm', training_file: 'file-1', peft, graft: { task: 'dpo' } };
  expect(() => resolveSpec(body, { trainingRecords: 4, modelType: 'llama' })).toThrow(
    'MULTITASK_PROMPT_TUNING requires task_ids in the records, which task dpo does not support; use task causal_lm, or another method',
  );
});

it.each([
  [{ text: 'a', task_ids: 3 }, 4, null],
  [{ text: 'a', task_ids: 4 }, 4, '"task_ids" is 4, expected 0 to 3, as there are 4 tasks'],
  [
    { text: 'a' },
    4,
    '"task_ids" is missing: which task the record is of, 0 to 3, as there are 4 tasks',
  ],
  [{ text: 'a' }, 1, null],
  [{ text: 'a', task_ids: 1 }, 1, '"task_ids" is 1, expected 0, as there is 1 task'],
  // ignored without tasks
  [{ text: 'a', task_ids: 70 }, null, null],
])('of %j with %j tasks returns %j', (record, tasks, problem) => {
  expect(taskIdProblem(record, tasks)).toBe(problem);
});

describe('generation', () => {
  const ids = {
    eosIds: [],
    decode: (tokens: number[]) => tokens.join(' '),
  } as unknown as Tokenizer;
  const asked = (run: number | null, taskId: number | null): number[] => {
    const cache = model.cache();
    try {
      const answer = new Generation({ model, tokenizer: ids }, cache, {
        messages: null,
        prompt: null,
        promptTokens: [5, 17, 42],
        run,
        task_id: taskId,
        max_tokens: 6,
        temperature: 0,
        top_p: 1,
        seed: 0,
        stop: [],
      });
      while (!answer.done) answer.step();
      return answer.ids;
    } finally {
      cache.dispose();
    }
  };
  const refused = (message: string): Error =>
    expect.objectContaining({
      code: 'invalid_value',
      param: 'graft.task_ids',
      message: `graft.task_ids: ${message}`,
    }) as Error;

  it('uses the requested task', () => {
    const adapter = attach();
    // far apart, so that completions differ
    noGrad(() =>
      tidy(() =>
        adapter.load(new Map([...adapter.exported()].map(([name, t]) => [name, mul(t, 30)]))),
      ),
    );
    const answers = [0, 1, 2, 3].map((taskId) => asked(1, taskId).join());
    expect(new Set(answers).size).toBeGreaterThan(1);
    expect(() => asked(1, 4)).toThrow(
      refused('this model was trained for 4 tasks: expected an integer from 0 to 3, got 4'),
    );
    expect(() => asked(1, null)).toThrow(
      refused('this model was trained for 4 tasks: say which, 0 to 3'),
    );
    adapter.detach();
  });

  it('needs no task id if there is one task, and rejects one for a model without tasks', () => {
    const adapter = attach({ num_tasks: 1 });
    expect(asked(1, null)).toEqual(asked(1, 0));
    adapter.detach();
    expect(() => asked(null, 0)).toThrow(refused('this model has no tasks; leave it out'));
  });
});
