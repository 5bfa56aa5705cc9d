// A job that no worker of its pool has memory for is rejected on creation.
import type { JobPreviewObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

let api: TestApi;
let file: string;
const workers: ScriptedWorker[] = [];
beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  file = await uploadChats(api);
});
afterAll(async () => {
  for (const worker of workers) worker.vanish();
  await api?.close();
});

const join = async (name: string, memoryBytes: number, pool = 'small'): Promise<void> => {
  workers.push(await new ScriptedWorker(api, { name, pool, memoryBytes }).connect());
};
const HUGE = { peft_type: 'LORA', r: 4096, target_modules: 'all-linear' };
const create = async (peft: object, of: { file?: string; pool?: string; graft?: object } = {}) => {
  const { file: training_file = file, pool = 'small', graft = {} } = of;
  const response = await fetch(`${api.url}/v1/fine_tuning/jobs`, {
    method: 'POST',
    headers: { ...api.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny', training_file, peft, graft: { pool, ...graft } }),
  });
  const body = (await response.json()) as {
    error?: { param: string; code: string; message: string };
  };
  return { status: response.status, ...body.error };
};

it('is rejected with its field if the pool has workers, all of which are too small', async () => {
  // Without workers it is accepted, because a larger worker may join.
  expect(await create(HUGE)).toMatchObject({ status: 200 });
  await join('little', 320e6);
  await join('less', 300e6);
  expect(await create({ peft_type: 'LORA', r: 8 })).toMatchObject({ status: 200 });
  expect(await create(HUGE)).toMatchObject({
    status: 400,
    code: 'invalid_value',
    param: 'peft.r',
    message: expect.stringMatching(
      /^the run needs about 109 MB of memory in addition to its base .*, but the largest worker of pool small has at most 52 MB; lower peft\.r or list fewer peft\.target_modules$/,
    ) as string,
  });
  await join('large', 4e9);
  expect(await create(HUGE)).toMatchObject({ status: 200 });
});

it('is rejected if the largest example alone exceeds the memory of the largest worker', async () => {
  const text = JSON.stringify({
    messages: [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'x'.repeat(90) },
    ],
  });
  const long = await api.client.files.create({
    file: new File([text], 'long.jsonl'),
    purpose: 'fine-tune',
  });
  const peft = { peft_type: 'LORA', r: 8 };
  const { memory, training } = await api.post<JobPreviewObject>('/fine_tuning/jobs/preview', {
    model: 'tiny',
    training_file: long.id,
    peft,
  });
  // The memory of the data is not counted here; while it is read, it takes eight times as much in addition.
  const without = (memory?.process_bytes ?? 0) - 9 * training.memory_bytes;
  await join('narrow', without - 1000, 'narrow');
  expect(await create(peft, { pool: 'narrow' })).toMatchObject({ status: 200 });
  expect(await create(peft, { pool: 'narrow', file: long.id })).toMatchObject({
    status: 400,
    message: expect.stringContaining('the largest worker of pool narrow has') as string,
  });
  await join('wide', without + 1000, 'narrow');
  expect(await create(peft, { pool: 'narrow', file: long.id })).toMatchObject({ status: 200 });
});

it('is rejected if its answers to sample prompts exceed the memory of the largest worker', async () => {
  const peft = { peft_type: 'LORA', r: 8 };
  const prompt = [{ role: 'user', content: 'a' }];
  const graft = { sample_prompts: Array.from({ length: 8 }, () => prompt), sample_max_tokens: 512 };
  const needed = async (more: object): Promise<number> => {
    const { memory, training } = await api.post<JobPreviewObject>('/fine_tuning/jobs/preview', {
      model: 'tiny',
      training_file: file,
      peft,
      graft: more,
    });
    return (memory?.process_bytes ?? 0) - 9 * training.memory_bytes;
  };
  const [plain, asked] = [await needed({}), await needed(graft)];
  expect(asked - plain).toBeGreaterThan(10_000);
  await join('few', Math.round((plain + asked) / 2), 'asked');
  expect(await create(peft, { pool: 'asked' })).toMatchObject({ status: 200 });
  expect(await create(peft, { pool: 'asked', graft })).toMatchObject({
    status: 400,
    message: expect.stringContaining('for answers to sample prompts, ') as string,
  });
});
