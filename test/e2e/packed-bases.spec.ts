// Base models in 4 and 8 bits and in GGUF blocks: training, chats, and exports of the adapter.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JobObject, MetricsObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { Installation } from './installation.js';

const SMALL = fileURLToPath(new URL('../../examples/tiny-base', import.meta.url));

let graft: Installation;
let file: string;
beforeAll(async () => {
  graft = await Installation.start({});
  graft.startWorker('a');
  await graft.importBase('small', SMALL);
  const [id, results] = await exported({ model: 'small', format: 'gguf', quantization: 'Q8_0' });
  const path = join(graft.dir, `${id}.gguf`);
  writeFileSync(path, results.get('model-Q8_0.gguf') as Buffer);
  await graft.importBase('small-gguf', path);
  file = await graft.uploadChats(40);
});
afterAll(() => graft?.stop());

/** Runs an export. Returns the job's id and the files. */
async function exported(body: object): Promise<[string, Map<string, Buffer>]> {
  const sent = { type: 'export', ...body };
  const { id } = await graft.openai.post<JobObject>('/adapters/operations', { body: sent });
  return [id, await graft.results(await graft.succeeded(id))];
}

async function answer(model: string): Promise<string> {
  const { choices } = await graft.openai.chat.completions.create({
    model,
    messages: [{ role: 'user', content: 'Say a word' }],
    temperature: 0,
    max_tokens: 8,
  });
  return choices[0]?.message.content ?? '';
}

describe.each([
  ['gguf_blocks', 'small-gguf'],
  ['int8', 'small'],
  ['fp4', 'small'],
] as const)('%s', (quantization, base) => {
  let model: string;

  it('trains, is evaluated, and answers a chat as trained', async () => {
    onTestFailed(() => console.error(graft.tails()));
    const { id } = await graft.createJob({
      model: base,
      training_file: file,
      seed: 3,
      peft: { peft_type: 'LORA', r: 4, target_modules: 'all-linear' },
      hyperparameters: { batch_size: 4 },
      graft: {
        max_steps: 12,
        learning_rate: 0.01,
        quantization,
        validation_split: 0.2,
        eval_steps: 6,
      },
    });
    const job = await graft.succeeded(id, 120_000);
    expect(job.graft).toMatchObject({ quantization });
    const { series, evaluations } = await graft.openai.get<MetricsObject>(
      `/fine_tuning/jobs/${id}/metrics`,
    );
    const losses = series['loss'] as number[];
    expect(losses).toHaveLength(12);
    expect(losses.at(-1)).toBeLessThan(losses[0] as number);
    expect(evaluations.length).toBeGreaterThanOrEqual(2);
    model = job.fine_tuned_model as string;
    const said = await answer(model);
    expect(said).not.toBe('');
    expect(await answer(model)).toBe(said);
  });

  it('exports its adapter, and merges it into a base that answers', async () => {
    onTestFailed(() => console.error(graft.tails()));
    const [, files] = await exported({ model, format: 'gguf_adapter' });
    expect([...files.keys()]).toContain('adapter.gguf');
    const merge = graft.openai.post<JobObject>('/adapters/operations', {
      body: { type: 'merge', model },
    });
    const merged = await graft.succeeded((await merge).id);
    expect(await answer(merged.fine_tuned_model as string)).not.toBe('');
  });
});

it('rejects the quantization of a base without blocks', async () => {
  const job = graft.createJob({
    model: 'small',
    training_file: file,
    graft: { quantization: 'gguf_blocks' },
  });
  await expect(job).rejects.toMatchObject({
    status: 400,
    param: 'graft.quantization',
    message: expect.stringContaining('import the base as GGUF') as string,
  });
});
