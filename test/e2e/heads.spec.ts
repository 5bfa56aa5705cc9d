// Jobs that train a head on an encoder: preview, training, evaluation and download. Tasks that generate text
// are rejected.
import type { JobConfusionObject, JobPreviewObject, MetricsObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it, onTestFailed } from 'vitest';
import { labelled } from '../tiny-base.js';
import { Installation } from './installation.js';
import { runSnippets } from './run-snippets.js';

let graft: Installation;

beforeAll(async () => {
  graft = await Installation.start({});
  graft.startWorker('a');
  await graft.importTinyBase('tiny-bert', 'bert');
});
afterAll(() => graft?.stop());

async function upload(text: string): Promise<string> {
  const file = new File([text], 'records.jsonl');
  return (await graft.openai.files.create({ file, purpose: 'fine-tune' })).id;
}

/** Values of one column of a job's metrics file. */
function column(files: ReadonlyMap<string, Buffer>, title: string): number[] {
  const [, csv] = [...files].find(([name]) => name.endsWith('.csv'))!;
  const [header = '', ...rows] = csv.toString().trim().split('\n');
  const at = header.split(',').indexOf(title);
  if (at < 0) return [];
  return rows
    .map((row) => row.split(',')[at]!)
    .flatMap((cell) => (cell === '' ? [] : [Number(cell)]));
}

const object = (bytes: Buffer | undefined): object =>
  JSON.parse(bytes?.toString() ?? '{}') as object;

it('evaluates an encoder on a stratified tenth of its data by default', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const training_file = await upload(labelled(60));
  const { id } = await graft.createJob({
    model: 'tiny-bert',
    training_file,
    seed: 7,
    peft: { peft_type: 'LORA', r: 4, target_modules: 'all-linear' },
    hyperparameters: { batch_size: 6, n_epochs: 8 },
    graft: { learning_rate: 0.01, base_dtype: 'f32' },
  });
  const job = await graft.succeeded(id);
  expect(job.graft).toMatchObject({
    validation_split: 0.1,
    stratify_by_column: 'label',
    eval_steps: 9,
    data: { examples: 54 },
  });
  const { evaluations } = await graft.openai.get<MetricsObject>(`/fine_tuning/jobs/${id}/metrics`);
  expect(evaluations.map(({ step }) => step)).toEqual([9, 18, 27, 36, 45, 54, 63, 72]);
  for (const { majority_accuracy: chance } of evaluations) expect(chance).toBe(0.5);
  const published = evaluations.find(({ step }) => step === job.graft.published_step);
  expect(published?.loss).toBe(Math.min(...evaluations.map(({ loss }) => loss ?? NaN)));
  expect(published?.['accuracy']).toBe(1);
  expect(job.graft.best).toMatchObject({ accuracy: 1, majority_accuracy: 0.5 });
  const told = await graft.openai.get<JobConfusionObject>(`/fine_tuning/jobs/${id}/confusion`);
  expect(told).toMatchObject({ examples: 6, examples_file: training_file });
  expect(told.classes.map(({ label, support }) => [label, support])).toEqual([
    ['even', 3],
    ['odd', 3],
  ]);
});

it('trains an encoder to label texts, with the labels in the data', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const body = {
    model: 'tiny-bert',
    training_file: await upload(labelled(40)),
    validation_file: await upload(labelled(10, 100)),
    seed: 7,
    peft: { peft_type: 'LORA', r: 4, target_modules: 'all-linear' },
    hyperparameters: { batch_size: 4, n_epochs: 8 },
    graft: { learning_rate: 0.01, eval_steps: 40, base_dtype: 'f32' },
  };
  const told = await graft.openai.post<JobPreviewObject>('/fine_tuning/jobs/preview', { body });
  const options = { problem_type: 'single_label_classification', labels: ['even', 'odd'] };
  expect(told).toMatchObject({ steps: 80, graft: { task: 'seq_cls', task_options: options } });

  const { id } = await graft.createJob(body);
  const job = await graft.succeeded(id);
  expect(job.graft).toMatchObject({
    task: 'seq_cls',
    task_options: options,
    data: { examples: 40, formats: { classification: 40 } },
  });
  const files = await graft.results(job);
  expect(object(files.get('adapter_config.json'))).toMatchObject({
    task_type: 'SEQ_CLS',
    modules_to_save: ['classifier', 'score'],
  });
  expect(object(files.get('config.json'))).toMatchObject({
    architectures: ['BertForSequenceClassification'],
    id2label: { 0: 'even', 1: 'odd' },
    problem_type: 'single_label_classification',
  });
  expect(column(files, 'train_accuracy').at(-1)).toBe(1);
  expect(column(files, 'valid_accuracy').at(-1)).toBe(1);
  expect(column(files, 'valid_f1').at(-1)).toBe(1);
  expect(column(files, 'train_pearson')).toEqual([]);

  for (const model of ['tiny-bert', job.fine_tuned_model!])
    await expect(
      graft.openai.chat.completions.create({ model, messages: [{ role: 'user', content: 'x' }] }),
    ).rejects.toMatchObject({ status: 400, message: expect.stringContaining('not text') });

  const held = labelled(12, 200)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { text: string; label: string });
  const classify = (input: unknown, model = job.fine_tuned_model): Promise<Classified> =>
    graft.openai.post('/classify', { body: { model, input } });
  const { data, usage, ...rest } = await classify(held.map(({ text }) => text));
  expect(rest).toMatchObject({ object: 'list', model: job.fine_tuned_model });
  expect(rest.id).toMatch(/^classify-/);
  expect(data.map(({ index, label }) => [index, label])).toEqual(
    held.map(({ label }, i) => [i, label]),
  );
  for (const { label, probs, num_classes: count, probabilities } of data) {
    expect(count).toBe(2);
    expect(probs[0]! + probs[1]!).toBeCloseTo(1, 5);
    expect(probs[label === 'even' ? 0 : 1]).toBe(Math.max(...probs));
    expect(probabilities).toEqual({ even: probs[0], odd: probs[1] });
  }
  // Adds the special tokens before and after each text.
  const tokens = held.reduce((sum, { text }) => sum + text.length + 2, 0);
  expect(usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0 });
  const { curl, typescript } = await runSnippets(graft, job.fine_tuned_model!);
  expect(JSON.parse(curl)).toMatchObject({ data: [{ index: 0, num_classes: 2 }] });
  expect(typescript).toMatch(/label: '(even|odd)'/);

  const one = await classify({ text: held[0]!.text, text_pair: 'and this' });
  expect(one.usage.prompt_tokens).toBe(held[0]!.text.length + 'and this'.length + 3);
  expect(one.data).toHaveLength(1);

  await expect(classify(['x', { question: 'y' }])).rejects.toMatchObject({
    status: 400,
    param: 'input.1',
    message: expect.stringContaining('input.1: unknown key "question"'),
  });
  await expect(classify('x', 'tiny-bert')).rejects.toMatchObject({
    param: 'model',
    message: expect.stringContaining('train a model for seq_cls'),
  });
  const embed = (model: string) => graft.openai.embeddings.create({ model, input: ['abc', 'abd'] });
  await expect(embed(job.fine_tuned_model!)).rejects.toMatchObject({
    message: expect.stringContaining('returns labels, not vectors; use POST /v1/classify'),
  });
  expect((await embed('tiny-bert')).data.map(({ embedding }) => embedding.length)).toEqual([
    32, 32,
  ]);
});

interface Classified {
  readonly id: string;
  readonly data: readonly {
    readonly index: number;
    readonly label: string;
    readonly probs: readonly number[];
    readonly num_classes: number;
    readonly probabilities: Readonly<Record<string, number>>;
  }[];
  readonly usage: { readonly prompt_tokens: number };
}

it('rejects a validation file with a label that is missing from the training file, and names the line', async () => {
  const training_file = await upload(labelled(8));
  const validation_file = await upload(labelled(2) + '{"text":"x","label":"prime"}\n');
  await expect(
    graft.createJob({ model: 'tiny-bert', training_file, validation_file }),
  ).rejects.toMatchObject({
    status: 400,
    param: 'validation_file',
    message: expect.stringContaining('line 3: the label "prime" is not one of "even", "odd"'),
  });
});

it('rejects tasks that generate text on an encoder, and methods that PEFT does not support for heads', async () => {
  const training_file = await upload(labelled(8));
  const chats = await graft.uploadChats(4);
  await expect(
    graft.createJob({ model: 'tiny-bert', training_file: chats, graft: { task: 'causal_lm' } }),
  ).rejects.toMatchObject({ status: 400, param: 'graft.task' });
  const peft = { peft_type: 'PREFIX_TUNING' };
  await expect(graft.createJob({ model: 'tiny-bert', training_file, peft })).rejects.toMatchObject({
    status: 400,
    param: 'peft.peft_type',
    message: expect.stringContaining('not supported for classification, as in PEFT'),
  });
});

it('trains an encoder to tag words', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const sentence = (n: number) => {
    const isFirst = n % 2 === 0;
    const tokens = isFirst ? ['Mr', 'Z', 'said', `x${n}`] : ['it', 'said', 'Mr', 'Z'];
    const tags = isFirst ? ['B-PER', 'I-PER', 'O', 'O'] : ['O', 'O', 'B-PER', 'I-PER'];
    return JSON.stringify({ tokens, tags });
  };
  const lines = (count: number, from = 0) =>
    Array.from({ length: count }, (_, i) => sentence(from + i)).join('\n');
  const { id } = await graft.createJob({
    model: 'tiny-bert',
    training_file: await upload(lines(24)),
    validation_file: await upload(lines(6, 50)),
    peft: { peft_type: 'LORA', r: 4, target_modules: 'all-linear' },
    hyperparameters: { batch_size: 4, n_epochs: 8 },
    graft: { task: 'token_cls', learning_rate: 0.01, base_dtype: 'f32' },
  });
  const job = await graft.succeeded(id);
  expect(job.graft.task_options).toEqual({ labels: ['B-PER', 'I-PER', 'O'] });
  const files = await graft.results(job);
  expect(object(files.get('adapter_config.json'))).toMatchObject({ task_type: 'TOKEN_CLS' });
  expect(object(files.get('config.json'))).toMatchObject({
    architectures: ['BertForTokenClassification'],
    id2label: { 0: 'B-PER', 1: 'I-PER', 2: 'O' },
  });
  expect(column(files, 'valid_f1').at(-1)).toBe(1);

  const body = { model: job.fine_tuned_model, input: ['it said Mr Z', ['Mr', 'Z', 'said', 'x7']] };
  const found = await graft.openai.post<{ data: object[] }>('/classify', { body });
  const entity = (from: number) => ({ type: 'PER', text: 'Mr Z', from, to: from + 1 });
  expect(found.data).toMatchObject([
    { index: 0, tokens: ['it', 'said', 'Mr', 'Z'], entities: [entity(2)] },
    { index: 1, tags: ['B-PER', 'I-PER', 'O', 'O'], entities: [entity(0)] },
  ]);
  expect(found.data[0]).not.toHaveProperty('probs');
});

it('trains an encoder to find answers in a context', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const record = (n: number) => {
    const key = `k${n % 10}`;
    const context = n % 2 === 0 ? `so ${key} it is` : `it is now ${key} then`;
    const answers = { text: [key], answer_start: [context.indexOf(key)] };
    return JSON.stringify({ question: 'key?', context, answers });
  };
  const lines = (count: number, from = 0) =>
    Array.from({ length: count }, (_, i) => record(from + i)).join('\n');
  const { id } = await graft.createJob({
    model: 'tiny-bert',
    training_file: await upload(lines(24)),
    validation_file: await upload(lines(6, 50)),
    peft: { peft_type: 'LORA', r: 8, target_modules: 'all-linear' },
    hyperparameters: { batch_size: 4, n_epochs: 15 },
    graft: { task: 'question_ans', learning_rate: 0.01, base_dtype: 'f32' },
  });
  const job = await graft.succeeded(id);
  expect(job.graft.task_options).toMatchObject({ version_2_with_negative: false });
  const files = await graft.results(job);
  expect(object(files.get('adapter_config.json'))).toMatchObject({
    task_type: 'QUESTION_ANS',
    modules_to_save: ['qa_outputs'],
  });
  expect(object(files.get('config.json'))).toMatchObject({
    architectures: ['BertForQuestionAnswering'],
  });
  expect(column(files, 'valid_exact_match').at(-1)).toBe(1);
  expect(column(files, 'valid_f1').at(-1)).toBe(1);

  const classify = (input: unknown) =>
    graft.openai.post<{ data: object[] }>('/classify', {
      body: { model: job.fine_tuned_model, input },
    });
  const { curl } = await runSnippets(graft, job.fine_tuned_model!);
  expect(JSON.parse(curl)).toMatchObject({ data: [{ index: 0, answer: expect.any(String) }] });
  const asked = { question: 'key?', context: 'so k7 it is' };
  // Longer than the base's context: it is processed in windows, and positions refer to the whole text.
  const long = `${'it is so now '.repeat(8)}it is now k3 then`;
  const { data } = await classify([asked, ['key?', 'it is now k4 then']]);
  expect(data).toMatchObject([
    { index: 0, answer: 'k7', start: 3, end: 5 },
    { index: 1, answer: 'k4', start: 10, end: 12 },
  ]);
  const [found] = (await classify({ ...asked, context: long })).data as {
    answer: string;
    start: number;
    end: number;
  }[];
  expect(long.slice(found!.start, found!.end).trim()).toBe(found!.answer);
  await expect(classify('key?')).rejects.toMatchObject({
    status: 400,
    param: 'input',
    message: expect.stringContaining('expected {"question","context"}'),
  });
});
