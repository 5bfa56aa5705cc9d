// Names that jobs, sweeps and evals get if users give none.
import type { JobObject, ModelObject, SweepObject } from '@graft/contracts';
import type OpenAI from 'openai';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chats, importBase, startTestApi, type TestApi } from './fixture.js';
import { finished, ScriptedWorker, started, step } from './scripted-worker.js';
import { trialsOn } from './sweep-trials.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

const upload = async (name: string): Promise<string> =>
  (await api.client.files.create({ file: new File([chats(12)], name), purpose: 'fine-tune' })).id;
const create = async (file: string, more: object = {}): Promise<JobObject> =>
  api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await upload(file),
    ...more,
    graft: { pool: 'unserved', ...(more as { graft?: object }).graft },
  });
const nameOf = async (file: string, more: object = {}) => (await create(file, more)).graft.name;
const rename = async (id: string, name: string | null): Promise<string> => {
  const { body } = await request(api.url)
    .post(`/v1/fine_tuning/jobs/${id}`)
    .set(api.headers)
    .send({ graft: { name } });
  return (body as JobObject).graft.name;
};

describe('a job without a suffix', () => {
  it('is named after its file and method, with a number', async () => {
    expect(await nameOf('Tickets.jsonl')).toBe('tickets-lora-1');
    expect(await nameOf('tickets.jsonl')).toBe('tickets-lora-2');
    const dora = { peft: { peft_type: 'LORA', use_dora: true } };
    expect(await nameOf('tickets.jsonl', dora)).toBe('tickets-dora-1');
    expect(await nameOf('tickets.jsonl', { peft: { peft_type: 'IA3' } })).toBe('tickets-ia3-1');
    const prompt = { peft: { peft_type: 'PROMPT_TUNING' } };
    expect(await nameOf('tickets.jsonl', prompt)).toBe('tickets-prompt-tuning-1');
    expect(await nameOf('tickets.jsonl', { peft: null })).toBe('tickets-full-1');
    const nf4 = { graft: { quantization: 'nf4' } };
    expect(await nameOf('tickets.jsonl', nf4)).toBe('tickets-qlora-1');
  });

  it('has a short name in lower case, from any file name', async () => {
    expect(await nameOf('Übung (final) v2.jsonl')).toBe('übung-final-v2-lora-1');
    expect(await nameOf('---.jsonl')).toBe('data-lora-1');
    expect(await nameOf('customer_support_conversations_2026.jsonl')).toBe(
      'customer-support-lora-1',
    );
  });

  it('is found by its name, and the name of its model does not depend on it', async () => {
    const { id, graft } = await create('found.jsonl');
    const list = await api.get<{ data: JobObject[] }>(`/fine_tuning/jobs?search=${graft.name}`);
    expect(list.data.map((job) => job.id)).toEqual([id]);
    const tuned = await create('tuned.jsonl', { peft: { peft_type: 'PREFIX_TUNING' } });
    const titled = await api.get<{ data: JobObject[] }>('/fine_tuning/jobs?search=Prefix%20tuning');
    expect(titled.data.map((job) => job.id)).toEqual([tuned.id]);
    const sorted = await api.get<{ data: JobObject[] }>('/fine_tuning/jobs?sort=name&limit=1');
    expect(sorted.data).toHaveLength(1);
    expect(list.data[0]?.user_provided_suffix).toBeNull();
  });

  it('gets a name that no other job of the project has, also if several are created together', async () => {
    const training_file = await upload('together.jsonl');
    const body = { model: 'tiny', training_file, graft: { pool: 'unserved' } };
    const jobs = await Promise.all(
      Array.from({ length: 8 }, () => api.post<JobObject>('/fine_tuning/jobs', body)),
    );
    const names = jobs.map(({ graft }) => graft.name);
    expect(names.toSorted()).toEqual(names.map((_, n) => `together-lora-${n + 1}`));
  });

  it('gets its default name again when its name is removed', async () => {
    const { id } = await create('again.jsonl');
    expect(await rename(id, 'mine')).toBe('mine');
    expect(await rename(id, null)).toBe('again-lora-1');
  });
});

describe('a suffix', () => {
  it('is the name, and numbered names skip it', async () => {
    expect(await nameOf('skip.jsonl', { suffix: 'skip-lora-3' })).toBe('skip-lora-3');
    expect(await nameOf('skip.jsonl')).toBe('skip-lora-4');
    expect(await nameOf('skip.jsonl', { suffix: 'skip-lora-2' })).toBe('skip-lora-2');
    expect(await nameOf('skip.jsonl')).toBe('skip-lora-5');
  });
});

describe('a trial', () => {
  const sweep = async (more: object): Promise<{ name: string; trials: string[] }> => {
    const body = { ...trialsOn(await upload('sizes.jsonl'), 'unserved'), ...more };
    const made = await api.post<SweepObject>('/sweeps', body);
    return { name: made.name, trials: (made.trials ?? []).map(({ name }) => name) };
  };

  it('has the name of its sweep and the values in which it differs', async () => {
    const parameters = { 'peft.r': [4, 8], 'graft.learning_rate': [1e-3] };
    expect(await sweep({ search: { algorithm: 'grid', parameters } })).toEqual({
      name: 'sizes-sweep-1',
      trials: [
        'sizes-sweep-1 · r 4, learning rate 0.001',
        'sizes-sweep-1 · r 8, learning rate 0.001',
      ],
    });
    const dora = { 'peft.use_dora': [true, false] };
    const named = await sweep({ suffix: 'night', search: { algorithm: 'grid', parameters: dora } });
    expect(named).toEqual({ name: 'night', trials: ['night · DoRA', 'night · LoRA'] });
  });

  it('of several methods names its method', async () => {
    const { name, trials } = await sweep({
      peft: undefined,
      search: { algorithm: 'grid', preset: 'methods' },
    });
    expect(name).toBe('sizes-methods-1');
    expect(new Set(trials).size).toBe(trials.length);
    expect(trials).toContainEqual(expect.stringMatching(/^sizes-methods-1 · DoRA/));
  });
});

describe('the result of an operation', () => {
  it('is named after the job of its model', async () => {
    const worker = await new ScriptedWorker(api, { pool: 'trained' }).connect();
    const { id } = await create('voice.jsonl', { graft: { pool: 'trained' } });
    const lease = await worker.nextAssignment();
    await worker.report(lease, started(0, 1), step(1));
    const config = JSON.stringify({ peft_type: 'LORA', r: 8 });
    const adapter = [await worker.put(lease, 'adapter_config.json', config)];
    await worker.report(lease, finished(1, adapter));
    const { fine_tuned_model: model } = await api.get<JobObject>(`/fine_tuning/jobs/${id}`);
    expect((await api.get<ModelObject>(`/models/${model}`)).id).toMatch(/^ft:tiny:default::/);
    const operate = async (body: object) =>
      (await api.post<JobObject>('/adapters/operations', { pool: 'unserved', ...body })).graft.name;
    const gguf = { type: 'export', format: 'gguf', quantization: 'Q4_K_M', model };
    expect(await operate(gguf)).toBe('voice-lora-1 · GGUF Q4_K_M');
    expect(await operate(gguf)).toBe('voice-lora-1 · GGUF Q4_K_M (2)');
    expect(await operate({ type: 'merge', model })).toBe('voice-lora-1 · merged');
    expect(await operate({ type: 'merge', model, suffix: 'whole' })).toBe('whole');
    await rename(id, 'pirate');
    expect(await operate({ type: 'convert', rank: 4, model })).toBe('pirate · LoRA r 4');
    const two = { type: 'combine', adapters: [model, model], weights: [0.5, 0.5] };
    expect(await operate(two)).toBe('pirate + 1 more · combined (svd)');
    worker.vanish();
  });
});

describe('an eval', () => {
  it('is named after its first criterion, and its runs after their model', async () => {
    const { evals } = api.client;
    const body: OpenAI.Evals.EvalCreateParams = {
      data_source_config: { type: 'custom', item_schema: { type: 'object' } },
      testing_criteria: [
        { type: 'string_check', name: 'Same word', operation: 'eq', input: 'a', reference: 'a' },
      ],
    };
    const made = await evals.create(body);
    expect(made.name).toBe('same-word-eval-1');
    expect((await evals.create(body)).name).toBe('same-word-eval-2');
    expect((await evals.create({ ...body, name: 'mine' })).name).toBe('mine');
    const content = [{ item: {} }];
    const run = () =>
      evals.runs.create(made.id, {
        data_source: {
          type: 'completions',
          model: 'tiny',
          source: { type: 'file_content', content },
          input_messages: { type: 'template', template: [{ role: 'user', content: 'a' }] },
        },
      });
    expect((await run()).name).toBe('tiny · same-word-eval-1');
    expect((await run()).name).toBe('tiny · same-word-eval-1 (2)');
    const stored = await evals.runs.create(made.id, {
      data_source: { type: 'jsonl', source: { type: 'file_content', content } },
    });
    expect(stored.name).toBe('same-word-eval-1-answers-1');
  });
});
