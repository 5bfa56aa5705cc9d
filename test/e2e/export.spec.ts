// Exports a fine-tuned model and loads it in llama.cpp, with the prompts that Ollama renders. Its greedy
// answers to held-out prompts equal those in Graft.
import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JobObject, ModelObject } from '@graft/contracts';
import { Tokenizer } from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { hasGo, ollamaPrompt } from '../llama-cpp/go-template.js';
import { LlamaCpp, ready } from '../llama-cpp/llama-cpp.js';
import { Installation, until } from './installation.js';

const SMALL = fileURLToPath(new URL('../../examples/tiny-base', import.meta.url));
const isReady = ready('exports by llama.cpp') && hasGo('exports by llama.cpp');
const COUNT = 16;

interface Row {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
}

const NAMES =
  'Ann Bob Cat Dan Eve Fay Gus Hal Ida Jim Kay Leo Mia Ned Ola Pat Quin Ray Sue Tom'.split(' ');
const ADVICE: readonly (readonly [thing: string, what: string])[] = [
  ['red', 'Keep it warm.'],
  ['blue', 'Put it on ice!'],
  ['green', 'Water it twice a day.'],
  ['small', 'Look after it.'],
  ['old', 'Sell it soon?'],
];
/**
 * Training example: advice for one thing. So simple that even a small model predicts it with high confidence,
 * and rounding does not change the answer.
 */
const row = (n: number): Row => {
  const [name, [thing, what]] = [NAMES[n % 20] as string, ADVICE[(n * 7) % 5] as [string, string]];
  return {
    messages: [
      ...(n % 3 === 0 ? [{ role: 'system', content: 'Say what to do.' }] : []),
      { role: 'user', content: `${name} has a ${thing} box.` },
      { role: 'assistant', content: what },
    ],
  };
};
const TRAINING = Array.from({ length: 60 }, (_, n) => row(n));
const HELD_OUT = Array.from({ length: 10 }, (_, n) => row(61 + n).messages.slice(0, -1));

let graft: Installation;
let tuned: string;
beforeAll(async () => {
  graft = await Installation.start({});
  graft.startWorker('a');
  await imported('small', SMALL);
  const lines = TRAINING.map((one) => JSON.stringify(one)).join('\n');
  const data = new File([lines], 'boxes.jsonl');
  const { id } = await graft.openai.files.create({ file: data, purpose: 'fine-tune' });
  const job = await graft.createJob({
    model: 'small',
    training_file: id,
    peft: { peft_type: 'LORA', r: 8, target_modules: 'all-linear', rank_pattern: { q_proj: 4 } },
    graft: { max_steps: 90, learning_rate: 0.005, base_dtype: 'f32', validation_split: null },
  });
  tuned = (await graft.succeeded(job.id)).fine_tuned_model ?? '';
});
afterAll(() => graft?.stop());

async function imported(id: string, path: string): Promise<void> {
  await graft.openai.post('/models', { body: { id, source: `dir:${path}` } });
  await until(`${id} to be ready`, async () => {
    const { graft: model } = (await graft.openai.get(`/models/${id}`)) as ModelObject;
    if (model?.status === 'error') throw new Error(model.status_details ?? 'import failed');
    return model?.status === 'ready';
  });
}

/** Downloads the files of an export to a new folder. */
async function exported(body: object): Promise<{ dir: string; job: JobObject; modelfile: string }> {
  const sent = { type: 'export', ...body };
  const { id } = await graft.openai.post<JobObject>('/adapters/operations', { body: sent });
  const job = await graft.succeeded(id);
  const dir = join(graft.dir, id);
  mkdirSync(dir);
  const files = await graft.results(job);
  for (const [name, content] of files) writeFileSync(join(dir, name), content);
  return { dir, job, modelfile: String(files.get('Modelfile')) };
}

async function answers(model: string): Promise<string[]> {
  const said: string[] = [];
  for (const messages of HELD_OUT) {
    const { choices } = await graft.openai.chat.completions.create({
      model,
      messages: messages as never,
      temperature: 0,
      max_tokens: COUNT,
    });
    said.push(choices[0]?.message.content ?? '');
  }
  return said;
}

const templateIn = (modelfile: string): string =>
  /TEMPLATE """(.*)"""/s.exec(modelfile)?.[1] ?? 'none';

describe.skipIf(!isReady)('an export', () => {
  const llama = isReady ? new LlamaCpp() : null;
  afterAll(() => llama?.stop());

  async function compare(file: string, modelfile: string, lora?: string): Promise<string[]> {
    const template = templateIn(modelfile);
    const prompts = HELD_OUT.map((messages) => ollamaPrompt(template, messages));
    const cases = prompts.map((text) => ({ text, count: COUNT }));
    const found = (await llama?.ask(file, cases, lora)) ?? [];
    const tokenizer = Tokenizer.load(SMALL);
    const rendered = HELD_OUT.map((messages) =>
      tokenizer.encode(tokenizer.render(messages, { addGenerationPrompt: true })),
    );
    tokenizer.dispose();
    // Ollama's prompt, tokenized by llama.cpp, equals the prompt in training, token by token
    expect(found.map(({ prompt }) => prompt)).toEqual(rendered);
    return found.map(({ text }) => text);
  }

  it('of a merged model answers like the adapter in Graft', async () => {
    onTestFailed(() => console.error(graft.tails()));
    const own = await answers(tuned);
    // otherwise the comparison above would prove nothing
    expect(own).not.toEqual(await answers('small'));
    expect(new Set(own).size).toBe(5);
    const { dir, job, modelfile } = await exported({ model: tuned, format: 'gguf' });
    expect(job.graft.operation).toEqual({ type: 'export', adapters: [tuned], format: 'gguf' });
    const made = (await graft.openai.models.retrieve(
      job.fine_tuned_model ?? '',
    )) as unknown as ModelObject;
    expect(made.graft).toMatchObject({ kind: 'export', base: 'small', uses: [] });
    expect(await compare(join(dir, 'model-F16.gguf'), modelfile)).toEqual(own);
  });

  it('of a LoRA answers like the adapter in Graft', async () => {
    const { dir, modelfile } = await exported({ model: tuned, format: 'gguf_adapter' });
    const base = await exported({ model: 'small', format: 'gguf', quantization: 'F32' });
    const said = await compare(
      join(base.dir, 'model-F32.gguf'),
      modelfile,
      join(dir, 'adapter.gguf'),
    );
    expect(said).toEqual(await answers(tuned));
  });

  it.each(['Q8_0', 'Q4_K_M'])(
    'in %s answers in llama.cpp like the same file in Graft',
    async (quantization) => {
      const { dir, modelfile } = await exported({ model: tuned, format: 'gguf', quantization });
      const file = join(dir, `model-${quantization}.gguf`);
      const id = `small-${quantization}-${randomUUID().slice(0, 8)}`.toLowerCase();
      await imported(id, file);
      expect(await compare(file, modelfile)).toEqual(await answers(id));
    },
  );
});

it('an export can only be downloaded, and unsupported sources are rejected', async () => {
  const { job } = await exported({ model: tuned, format: 'gguf_adapter' });
  const id = job.fine_tuned_model ?? '';
  const refusal = async (path: string, body: object): Promise<unknown> =>
    graft.openai.post(path, { body }).then(
      () => null,
      (error: { error?: unknown }) => error.error,
    );
  const messages = [{ role: 'user', content: 'Hi' }];
  expect(await refusal('/chat/completions', { model: id, messages })).toMatchObject({
    code: 'invalid_model',
    message: expect.stringMatching(/is an export for other programs/) as string,
  });
  const cases: readonly (readonly [body: object, param: string, message: RegExp])[] = [
    [{ model: id, format: 'gguf' }, 'model', /is an export/],
    [{ model: 'small', format: 'gguf_adapter' }, 'model', /small is a whole model, not an adapter/],
    [{ model: tuned, format: 'onnx' }, 'format', /gguf/],
    [
      { model: tuned, format: 'vllm', quantization: 'F16' },
      'quantization',
      /is not used by format "vllm"/,
    ],
    [{ model: tuned, format: 'gguf', quantization: 'Q3' }, 'quantization', /Q4_K_M/],
  ];
  for (const [body, param, message] of cases)
    expect(await refusal('/adapters/operations', { type: 'export', ...body })).toMatchObject({
      param,
      message: expect.stringMatching(message) as string,
    });
  const archive = await fetch(`${graft.where.url}/v1/models/${encodeURIComponent(id)}/archive`, {
    headers: { authorization: `Bearer ${graft.where.apiKey}` },
  });
  expect(archive.headers.get('content-type')).toBe('application/octet-stream');
  await archive.body?.cancel();
});
