// Images, from a training file to served labels: validation, preview, training, download, and every kind of
// request.
import { createReadStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JobConfusionObject, JobPreviewObject, MetricsObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it, onTestFailed } from 'vitest';
import { graft as cli } from '../cli/graft.js';
import {
  COLOURS,
  colourPng,
  dataUrl,
  png,
  writeImages,
  writeTinyImageBase,
} from '../tiny-images.js';
import { Installation } from './installation.js';

let graft: Installation;

beforeAll(async () => {
  graft = await Installation.start({});
  graft.startWorker('a');
  await graft.importBase('tiny-vit', writeTinyImageBase(join(graft.dir, 'tiny-vit')));
});
afterAll(() => graft?.stop());

async function upload(text: string): Promise<{ readonly id: string; readonly status: string }> {
  const file = new File([text], 'pictures.jsonl');
  return graft.openai.files.create({ file, purpose: 'fine-tune' });
}

it('an image model trains on labels, and classifies unseen images', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const file = await graft.openai.files.create({
    file: createReadStream(writeImages(join(graft.dir, 'pictures.jsonl'), 24)),
    purpose: 'fine-tune',
  });
  expect(file).toMatchObject({
    status: 'processed',
    graft: { records: 24, formats: { image: 24 }, checked_as: 'image_cls' },
  });
  const body = {
    model: 'tiny-vit',
    training_file: file.id,
    seed: 7,
    peft: { peft_type: 'LORA', r: 4, target_modules: ['q_proj', 'v_proj'] },
    hyperparameters: { batch_size: 4, n_epochs: 10 },
    graft: {
      learning_rate: 0.03,
      base_dtype: 'f32',
      validation_split: 0.25,
      task_options: { random_flip: true },
    },
  };
  const preview = await graft.openai.post<JobPreviewObject>('/fine_tuning/jobs/preview', { body });
  const labels = ['blue', 'green', 'red'];
  expect(preview).toMatchObject({ graft: { task: 'image_cls', task_options: { labels } } });

  const { id } = await graft.createJob(body);
  const job = await graft.succeeded(id);
  expect(job.graft.data).toMatchObject({
    examples: 18,
    pictures: { looked_at: 18, smallest: { width: 14, height: 15 } },
  });
  const told = await graft.openai.get<JobConfusionObject>(`/fine_tuning/jobs/${id}/confusion`);
  expect(told).toMatchObject({ full: true, examples: 6 });
  expect(told.classes.map(({ label }) => label)).toEqual(labels);
  const missed = told.confused.reduce((sum, one) => sum + one.count, 0);
  expect(told.classes.reduce((sum, { correct }) => sum + correct, missed)).toBe(6);
  // each of the six has a line number whose record has that label
  expect(told.examples_file).toBe(file.id);
  const named = [...told.classes, ...told.confused].flatMap(({ label, lines }) =>
    lines.map((line) => ({ label, line })),
  );
  expect(new Set(named.map(({ line }) => line)).size).toBe(6);
  const text = await (await graft.openai.files.content(file.id)).text();
  for (const { label, line } of named)
    expect(JSON.parse(text.split('\n')[line - 1] as string)).toMatchObject({ label });
  // images per second and tokens per second match: each image has nine patches and the class token
  const { series } = await graft.openai.get<MetricsObject>(`/fine_tuning/jobs/${id}/metrics`);
  const speeds = series['images_per_second'] ?? [];
  expect(speeds).toHaveLength(job.graft.progress.step);
  speeds.forEach((speed, i) =>
    expect(series['tokens_per_second']?.[i]).toBeCloseTo(10 * Number(speed), 3),
  );
  const files = await graft.results(job);
  const object = (name: string): object =>
    JSON.parse(files.get(name)?.toString() ?? '{}') as object;
  expect(object('adapter_config.json')).toMatchObject({
    task_type: null,
    modules_to_save: ['classifier'],
    auto_mapping: { base_model_class: 'ViTForImageClassification' },
  });
  expect(object('config.json')).toMatchObject({ id2label: { 0: 'blue', 1: 'green', 2: 'red' } });

  const model = job.fine_tuned_model as string;
  const unseen = COLOURS.map((colour, i) => colourPng(colour, 90 + i));
  const asked = await graft.openai.post<Classified>('/classify', {
    body: { model, input: unseen.map((bytes) => dataUrl(bytes)) },
  });
  expect(asked.data.map(({ label }) => label)).toEqual(COLOURS);
  expect(asked.data[0]).toMatchObject({ num_classes: 3 });
  // number of rows in the base: nine patches and the class token per image
  expect(asked.usage.prompt_tokens).toBe(30);

  const sent = await form(model, unseen[2] as Buffer);
  const [alone] = ((await sent.json()) as Classified).data;
  expect(alone).toMatchObject({ index: 0, label: 'blue' });
  // computed in a separate forward pass, whose products may be rounded differently
  alone?.probs.forEach((value, i) => expect(value).toBeCloseTo(asked.data[2]!.probs[i]!, 5));

  const paths = unseen.map((bytes, i) => {
    const path = join(graft.dir, `${i}.png`);
    writeFileSync(path, bytes);
    return path;
  });
  const done = await cli(graft.dir, ['classify', model, '--image', ...paths], '', {
    GRAFT_URL: graft.where.url,
    GRAFT_API_KEY: graft.where.apiKey,
  });
  expect(done).toMatchObject({ code: 0, err: '' });
  expect(done.out).toMatch(/0\.png +red[^]*1\.png +green[^]*2\.png +blue/);

  // larger than a chat may be
  const large = png(1100, 900, (y, x) => [200, (y * x * 7919) % 97, (y * 31 + x * 17) % 89]);
  expect(large.length).toBeGreaterThan(960 * 1024);
  expect(await (await form(model, large)).json()).toMatchObject({ data: [{ label: 'red' }] });

  const refusals: readonly (readonly [unknown, RegExp])[] = [
    ['a cat', /input: "image" must be an image as a data URL/],
    [[dataUrl(unseen[0] as Buffer), dataUrl(Buffer.from('no'))], /input 1: the image is not JPEG/],
  ];
  for (const [input, message] of refusals)
    await expect(graft.openai.post('/classify', { body: { model, input } })).rejects.toMatchObject({
      status: 400,
      message: expect.stringMatching(message),
    });
});

interface Classified {
  readonly data: readonly { readonly label: string; readonly probs: readonly number[] }[];
  readonly usage: { readonly prompt_tokens: number };
}

it('an image model returns embeddings, and trains on similar images', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const withImage = (colour: (typeof COLOURS)[number], place: number): string =>
    dataUrl(colourPng(colour, place));
  const records = Array.from({ length: 24 }, (_, i) => {
    const [colour, other] = [COLOURS[i % 3]!, COLOURS[(i + 1) % 3]!];
    return {
      anchor: withImage(colour, i),
      positive: withImage(colour, i + 30),
      negative: withImage(other, i + 60),
    };
  });
  const file = await graft.openai.files.create({
    file: new File([records.map((one) => `${JSON.stringify(one)}\n`).join('')], 'pairs.jsonl'),
    purpose: 'fine-tune',
  });
  expect(file).toMatchObject({
    status: 'processed',
    graft: { formats: { 'image triplet': 24 }, checked_as: 'image_feature_extraction' },
  });
  const unseen = [90, 91].flatMap((place) => COLOURS.map((colour) => withImage(colour, place)));
  const vectors = async (model: string): Promise<number[][]> => {
    const body = { model, input: unseen, encoding_format: 'float' };
    const { data, usage } = await graft.openai.post<Embedded>('/embeddings', { body });
    expect(usage.prompt_tokens).toBe(60);
    return data.map(({ embedding }) => embedding);
  };
  const cosine = (a: readonly number[], b: readonly number[]): number =>
    a.reduce((sum, value, i) => sum + value * b[i]!, 0);
  /**
   * Minimum difference between the similarity of images of the same color and that of images of different
   * colors.
   */
  const apart = (all: readonly number[][]): number =>
    Math.min(
      ...[0, 1, 2].map((i) => {
        const near = cosine(all[i]!, all[i + 3]!);
        return near - Math.max(...[1, 2].map((by) => cosine(all[i]!, all[3 + ((i + by) % 3)]!)));
      }),
    );
  const before = await vectors('tiny-vit');
  expect(before).toHaveLength(6);
  expect(Math.hypot(...before[0]!)).toBeCloseTo(1, 5);

  const { id } = await graft.createJob({
    model: 'tiny-vit',
    training_file: file.id,
    seed: 3,
    peft: { peft_type: 'LORA', r: 4, target_modules: ['q_proj', 'v_proj', 'fc1', 'fc2'] },
    hyperparameters: { batch_size: 6, n_epochs: 12 },
    graft: { task: 'image_feature_extraction', learning_rate: 0.01, base_dtype: 'f32' },
  });
  const job = await graft.succeeded(id);
  expect(job.graft.data).toMatchObject({ examples: 24, pictures: { looked_at: 72 } });
  const model = job.fine_tuned_model as string;
  const after = await vectors(model);
  expect(apart(after)).toBeGreaterThan(0.3);
  expect(cosine(before[0]!, after[0]!)).toBeLessThan(0.99);
  const config = (await graft.results(job)).get('adapter_config.json')?.toString() ?? '{}';
  expect(JSON.parse(config)).toMatchObject({ task_type: 'FEATURE_EXTRACTION' });

  // other formats of requests: {"image"}, vLLM's messages, and a file
  const [url] = unseen as [string];
  const content = [{ type: 'image_url', image_url: { url } }];
  for (const asked of [{ input: { image: url } }, { messages: [{ role: 'user', content }] }]) {
    const body = { model, ...asked, encoding_format: 'float' };
    const { data } = await graft.openai.post<Embedded>('/embeddings', { body });
    data[0]?.embedding.forEach((value, i) => expect(value).toBeCloseTo(after[0]![i]!, 5));
  }
  const path = join(graft.dir, 'red.png');
  writeFileSync(path, colourPng('red', 90));
  const done = await cli(graft.dir, ['--json', 'embed', model, '--image', path, path], '', {
    GRAFT_URL: graft.where.url,
    GRAFT_API_KEY: graft.where.apiKey,
  });
  expect(done).toMatchObject({ code: 0, err: '' });
  const sent = JSON.parse(done.out) as number[][];
  expect(sent).toHaveLength(2);
  sent[1]?.forEach((value, i) => expect(value).toBeCloseTo(after[0]![i]!, 5));

  const refusals: readonly (readonly [object, string, RegExp])[] = [
    [{ input: 'a red square' }, 'input', /"image" must be an image as a data URL/],
    [{ input: [url, { image: 'red.png' }] }, 'input.1', /"image" must be an image/],
    [{ input: url, messages: [{ role: 'user', content }] }, 'messages', /got both/],
    [{}, 'input', /input is required/],
  ];
  for (const [asked, param, message] of refusals)
    await expect(
      graft.openai.post('/embeddings', { body: { model, ...asked } }),
    ).rejects.toMatchObject({ status: 400, param, message: expect.stringMatching(message) });
});

interface Embedded {
  readonly data: readonly { readonly embedding: number[] }[];
  readonly usage: { readonly prompt_tokens: number };
}

const form = (model: string, bytes: Buffer): Promise<Response> => {
  const body = new FormData();
  body.set('model', model);
  body.set('file', new Blob([new Uint8Array(bytes)]), 'picture.png');
  const headers = { authorization: `Bearer ${graft.where.apiKey}` };
  return fetch(`${graft.where.url}/v1/classify`, { method: 'POST', body, headers });
};

it('an image needs the name of a model', async () => {
  const sent = await form('', colourPng('red', 1));
  expect(sent.status).toBe(400);
  expect(await sent.json()).toMatchObject({ error: { param: 'model' } });
});

it('rejects data, tasks and requests of another modality with a message', async () => {
  const messages = [{ role: 'user' as const, content: 'Hi' }];
  await expect(
    graft.openai.chat.completions.create({ model: 'tiny-vit', messages }),
  ).rejects.toMatchObject({
    status: 400,
    message: expect.stringMatching(
      /is a base model that returns vectors, not text; use POST .*embeddings/,
    ),
  });
  const good = JSON.stringify({ image: dataUrl(colourPng('red', 1)), label: 'red' });
  const cut = JSON.stringify({
    image: dataUrl(colourPng('red', 1).subarray(0, 70)),
    label: 'green',
  });
  const { id: training_file } = await upload(`${good}\n${cut}\n`);
  await expect(graft.createJob({ model: 'tiny-vit', training_file })).rejects.toMatchObject({
    status: 400,
    message: expect.stringMatching(/line 2: the image cannot be decoded/),
  });
  const text = await upload('{"text":"a","label":"b"}\n'.repeat(10));
  await expect(
    graft.createJob({ model: 'tiny-vit', training_file: text.id, graft: { task: 'seq_cls' } }),
  ).rejects.toMatchObject({
    message: expect.stringMatching(
      /task seq_cls trains on text, but a base of model_type vit reads images/,
    ),
  });
});
