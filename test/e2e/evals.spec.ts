// Evals of a base model and a fine-tuned one, on a real worker. The grades match the answers, and the runs
// end although the API is killed.
import { afterAll, beforeAll, expect, it, onTestFailed } from 'vitest';
import { Installation, until } from './installation.js';

let graft: Installation;
let tuned: string;

beforeAll(async () => {
  graft = await Installation.start({});
  graft.startWorker('a');
  await graft.importTinyBase();
  const { id } = await graft.createJob({
    model: 'tiny',
    training_file: await graft.uploadChats(12),
    seed: 7,
    peft: { peft_type: 'LORA', r: 4, target_modules: 'all-linear' },
    hyperparameters: { batch_size: 4, n_epochs: 2 },
    graft: { learning_rate: 0.05 },
  });
  tuned = (await graft.succeeded(id)).fine_tuned_model ?? '';
}, 120_000);
afterAll(() => graft?.stop());

const WORDS = ['abc', 'bcd', 'cde', 'def', 'efg', 'fgh'];
const GREEDY = { temperature: 0, seed: 1, max_completion_tokens: 6 };

const answer = async (model: string, content: string): Promise<string> => {
  const messages = [{ role: 'user' as const, content }];
  const { choices } = await graft.openai.chat.completions.create({ model, messages, ...GREEDY });
  return choices[0]?.message.content ?? '';
};

async function ended(evalId: string, runId: string) {
  const get = () => graft.openai.evals.runs.retrieve(runId, { eval_id: evalId });
  await until('the run to be complete', async () => (await get()).status === 'completed', 90_000);
  return get();
}

const makeEval = () =>
  graft.openai.evals.create({
    name: 'as they answer in a chat',
    data_source_config: {
      type: 'custom',
      item_schema: { type: 'object', required: ['word', 'answer'] },
      include_sample_schema: true,
    },
    testing_criteria: [
      {
        type: 'string_check',
        name: 'same',
        operation: 'eq',
        input: '{{sample.output_text}}',
        reference: '{{item.answer}}',
      },
    ],
  });

const source = (model: string, content: object[], more: object = {}) =>
  ({
    type: 'completions',
    model,
    source: { type: 'file_content', content },
    input_messages: { type: 'template', template: [{ role: 'user', content: '{{item.word}}' }] },
    sampling_params: { ...GREEDY, ...more },
  }) as never;

it.each(['a base', 'a fine-tuned model'])(
  'runs an eval of %s with the same answers as in a chat',
  async (what) => {
    onTestFailed(() => console.error(graft.tails()));
    const model = what === 'a base' ? 'tiny' : tuned;
    const answers = await Promise.all(WORDS.map((word) => answer(model, word)));
    const content = WORDS.map((word, n) => ({
      item: { word, answer: n === 0 ? `not ${answers[n]}` : answers[n] },
    }));
    const { id } = await makeEval();
    const run = await graft.openai.evals.runs.create(id, { data_source: source(model, content) });
    const done = await ended(id, run.id);
    expect(done.result_counts).toEqual({ total: 6, passed: 5, failed: 1, errored: 0 });
    expect(done.per_model_usage).toMatchObject([{ model_name: model, invocation_count: 6 }]);
    const items = await graft.openai.evals.runs.outputItems.list(run.id, { eval_id: id });
    expect(items.data.map(({ sample }) => sample.output[0]?.content)).toEqual(answers);
  },
);

it('grades with a model, whose answers have the required format whatever it was trained on', async () => {
  const asked = {
    model: 'tiny',
    input: [{ role: 'user' as const, content: '{{sample.output_text}}' }],
  };
  const score = {
    ...asked,
    type: 'score_model' as const,
    name: 'score',
    range: [1, 5],
    sampling_params: { temperature: 0, seed: 1, max_completions_tokens: 4 },
  };
  const label = {
    ...asked,
    type: 'label_model' as const,
    name: 'label',
    labels: ['right', 'wrong'],
    passing_labels: ['right', 'wrong'],
  };
  const { graders } = graft.openai.fineTuning.alpha;
  expect(await graders.validate({ grader: score })).toMatchObject({ grader: score });
  for (const model_sample of WORDS) {
    const scored = await graders.run({ grader: score, model_sample });
    expect(scored.metadata.errors.model_grader_parse_error).toBe(false);
    expect(scored.reward).toBeGreaterThanOrEqual(1);
    expect(scored.reward).toBeLessThanOrEqual(5);
    const labelled = await graders.run({ grader: label as never, model_sample });
    expect([labelled.reward, labelled.metadata.errors.model_grader_parse_error]).toEqual([
      1,
      false,
    ]);
  }
});

it('grades each item once although the API is killed', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const said = await answer('tiny', 'abc');
  const content = Array.from({ length: 300 }, () => ({ item: { word: 'abc', answer: said } }));
  const { id } = await makeEval();
  const run = await graft.openai.evals.runs.create(id, { data_source: source('tiny', content) });
  const graded = async (): Promise<number> => {
    const got = await graft.openai.evals.runs.retrieve(run.id, { eval_id: id });
    return got.result_counts.passed;
  };
  await until('some items to be graded', async () => (await graded()) >= 20);
  await graft.crashApi(500);
  const before = await graded();
  expect(before).toBeLessThan(300);
  const done = await ended(id, run.id);
  expect(done.result_counts).toEqual({ total: 300, passed: 300, failed: 0, errored: 0 });
  expect(done.per_model_usage).toMatchObject([{ invocation_count: 300 }]);
}, 120_000);
