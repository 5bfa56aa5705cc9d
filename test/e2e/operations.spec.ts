// Operations on finished adapters: combine, convert and merge. Each is a job whose result can be used like
// any other model.
import type { JobObject } from '@graft/contracts';
import { APIError } from 'openai';
import { afterAll, beforeAll, expect, it, onTestFailed } from 'vitest';
import { unzip } from '../unzip.js';
import { Installation } from './installation.js';

let graft: Installation;

beforeAll(async () => {
  graft = await Installation.start({});
  graft.startWorker('a');
  await graft.importTinyBase();
});
afterAll(() => graft?.stop());

const file = async (): Promise<string> => {
  const lines = Array.from({ length: 8 }, (_, n) =>
    JSON.stringify({
      messages: [
        { role: 'user', content: `${n}?` },
        { role: 'assistant', content: `${n}!` },
      ],
    }),
  );
  const data = new File([lines.join('\n')], 'chats.jsonl');
  return (await graft.openai.files.create({ file: data, purpose: 'fine-tune' })).id;
};

async function trained(peft: object): Promise<string> {
  const graftOptions = { max_steps: 4, learning_rate: 0.02, base_dtype: 'f32' };
  const body = { model: 'tiny', training_file: await file(), peft, graft: graftOptions };
  const { id } = await graft.createJob(body);
  return (await graft.succeeded(id)).fine_tuned_model ?? '';
}

async function operated(body: object): Promise<JobObject> {
  const { id } = await graft.openai.post<JobObject>('/adapters/operations', { body });
  return graft.succeeded(id);
}

async function answer(model: string): Promise<string> {
  const messages = [{ role: 'user' as const, content: '3?' }];
  const said = await graft.openai.chat.completions.create({
    model,
    messages,
    temperature: 0,
    max_tokens: 8,
  });
  return said.choices[0]?.message.content ?? '';
}

async function refusal(body: object): Promise<unknown> {
  const refused = await graft.openai.post('/adapters/operations', { body }).then(
    () => null,
    (error: unknown) => error,
  );
  return refused instanceof APIError ? refused.error : refused;
}

it('merged, combined and converted models answer like their adapters, and can be trained further', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const [lora, loha] = [
    await trained({ peft_type: 'LORA', r: 4 }),
    await trained({ peft_type: 'LOHA', r: 4 }),
  ];
  expect(await refusal({ type: 'combine', adapters: [lora, loha], weights: [1, 1] })).toMatchObject(
    {
      code: 'unsupported',
      param: 'adapters[1]',
      message: 'adapters[1]: LOHA does not support weighted combination; convert it to LORA first',
    },
  );

  // half of the adapter plus half of it is the adapter
  const halves = { type: 'combine', adapters: [lora, lora], weights: [0.5, 0.5], suffix: 'halves' };
  const both = await operated({ ...halves, combination_type: 'cat' });
  expect(both).toMatchObject({
    training_file: null,
    graft: { operation: { type: 'combine', adapters: [lora, lora] } },
  });
  const halved = both.fine_tuned_model ?? '';
  expect(halved).toMatch(/^ft:tiny:default:halves:/);
  expect(await answer(halved)).toBe(await answer(lora));
  const names = [...(await graft.results(both)).keys()].sort();
  expect(names).toEqual(['README.md', 'adapter_config.json', 'adapter_model.safetensors']);

  const converted = await operated({ type: 'convert', model: loha, rank: 16 });
  const files = await graft.results(converted);
  const { error } = JSON.parse(String(files.get('conversion.json'))) as { error: number };
  expect(error).toBeLessThan(1e-3);
  const asLora = converted.fine_tuned_model ?? '';
  expect(await answer(asLora)).toBe(await answer(loha));

  const merged = await operated({ type: 'merge', model: asLora });
  const whole = merged.fine_tuned_model ?? '';
  const model = (await graft.openai.models.retrieve(whole)) as unknown as { graft: object };
  expect(model.graft).toMatchObject({ kind: 'full', base: 'tiny' });
  expect(await answer(whole)).toBe(await answer(loha));

  // without "peft": the adapter's file determines it
  const { id } = await graft.createJob({
    model: 'tiny',
    training_file: await file(),
    graft: { init_adapter: halved, max_steps: 2, base_dtype: 'f32' },
  });
  expect((await graft.succeeded(id)).peft).toMatchObject({
    peft_type: 'LORA',
    r: 8,
    lora_alpha: 8,
  });
}, 120_000);

it('an adapter that is imported from its two files answers like the original', async () => {
  const { id } = await graft.createJob({
    model: 'tiny',
    training_file: await file(),
    peft: { peft_type: 'LORA', r: 4 },
    graft: { max_steps: 4, learning_rate: 0.02 },
  });
  const job = await graft.succeeded(id);
  const form = new FormData();
  form.set('model', 'tiny');
  for (const [name, content] of await graft.results(job))
    if (name.startsWith('adapter_')) form.append('file', new File([new Uint8Array(content)], name));
  const sent = await fetch(`${graft.where.url}/v1/adapters`, {
    method: 'POST',
    headers: { authorization: `Bearer ${graft.where.apiKey}` },
    body: form,
  });
  const { id: taken } = (await sent.json()) as { id: string };
  expect(await answer(taken)).toBe(await answer(job.fine_tuned_model ?? ''));
  const merged = await operated({ type: 'merge', model: taken });
  expect(await answer(merged.fine_tuned_model ?? '')).toBe(await answer(taken));
}, 60_000);

it('rejects unsupported operations, and names the field', async () => {
  const lora = await trained({ peft_type: 'LORA', r: 4 });
  const ia3 = await trained({ peft_type: 'IA3' });
  const cases: readonly (readonly [body: object, param: string, message: RegExp])[] = [
    [{ type: 'convert', model: ia3, rank: 2 }, 'model', /IA3 cannot be converted to LORA/],
    [{ type: 'convert', model: lora }, 'rank', /set rank or energy/],
    [{ type: 'merge', model: 'tiny' }, 'model', /tiny is a whole model, not an adapter/],
    [{ type: 'merge', model: lora, rank: 3 }, 'rank', /rank/],
    [{ type: 'combine', adapters: [lora], weights: [1, 2] }, 'weights', /expected 1/],
    [
      { type: 'combine', adapters: [lora], weights: [1], combination_type: 'ties' },
      'density',
      /fraction of weights to keep/,
    ],
    [
      { type: 'combine', adapters: [lora], weights: [1], density: 0.5 },
      'density',
      /is not used by combination_type "svd"/,
    ],
    [{ type: 'unite' }, 'type', /merge/],
  ];
  for (const [body, param, message] of cases)
    expect(await refusal(body), JSON.stringify(body)).toMatchObject({
      param,
      message: expect.stringMatching(message) as string,
    });
}, 60_000);

it('X-LoRA mixes finished LoRAs, answers, resumes, and does not need the LoRAs afterwards', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const one = await trained({ peft_type: 'LORA', r: 4 });
  const loha = await trained({ peft_type: 'LOHA', r: 4 });
  const training_file = await file();
  const job = async (adapters: object | null, more: object = {}): Promise<JobObject> => {
    const peft = adapters && { peft: { peft_type: 'XLORA', adapters } };
    const options = { max_steps: 2, base_dtype: 'f32', ...more };
    const { id } = await graft.createJob({ model: 'tiny', training_file, ...peft, graft: options });
    return graft.succeeded(id);
  };
  await expect(job({ 0: one, 1: loha })).rejects.toMatchObject({
    code: 'invalid_value',
    param: 'peft.adapters',
    message: expect.stringMatching(/adapters "1": LOHA cannot be mixed/) as unknown,
  });
  await expect(job({ 0: 'tiny' })).rejects.toMatchObject({ param: 'peft.adapters.0' });
  await expect(job({ french: one })).rejects.toMatchObject({ param: 'peft.adapters' });

  // the weights of a row sum to 1, so mixing an adapter with itself yields that adapter, whatever X-LoRA has
  // learned
  const mixed = await job({ 0: one, 1: one }, { save_steps: 1 });
  const name = mixed.fine_tuned_model ?? '';
  const alone = await answer(one);
  expect(await answer('tiny')).not.toBe(alone);
  await graft.openai.models.delete(one);
  expect(await answer(name)).toBe(alone);
  expect(await answer(`${name}:ckpt-step-1`)).toBe(alone);

  const further = await job(null, { init_adapter: name });
  expect(further.peft).toMatchObject({ peft_type: 'XLORA', adapters: { 0: one, 1: one } });
  expect(await answer(further.fine_tuned_model ?? '')).toBe(alone);

  const url = `${graft.where.url}/v1/models/${name}/archive`;
  const sent = await fetch(url, { headers: { authorization: `Bearer ${graft.where.apiKey}` } });
  const names = [...(await unzip(Buffer.from(await sent.arrayBuffer()))).keys()];
  for (const part of ['0', '1'])
    for (const each of ['adapter_config.json', 'adapter_model.safetensors'])
      expect(
        names.some((one) => one.endsWith(`/${part}/${each}`)),
        names.join(),
      ).toBe(true);
}, 120_000);
