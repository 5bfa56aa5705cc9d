// Adapters that act on a part of the data: one task of several, the tokens after an invocation sequence, or
// the experts of a base. With a whole installation.
import { afterAll, beforeAll, expect, it, onTestFailed } from 'vitest';
import { Installation } from './installation.js';

let graft: Installation;
beforeAll(async () => {
  graft = await Installation.start({});
  graft.startWorker('a');
  await graft.importTinyBase();
  await graft.importTinyBase('experts', 'mixtral');
});
afterAll(() => graft.stop());

const lines = (records: readonly object[]): string =>
  records.map((record) => `${JSON.stringify(record)}\n`).join('');
const upload = async (records: readonly object[]): Promise<string> => {
  const file = new File([lines(records)], 'tasks.jsonl');
  return (await graft.openai.files.create({ file, purpose: 'fine-tune' })).id;
};
const QUESTION = 'what is 3 plus 3?';
const chat = (answer: string, task?: number, question = QUESTION) => ({
  messages: [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ],
  ...(task !== undefined && { task_ids: task }),
});
const answered = async (model: string, more: object = {}, question = QUESTION): Promise<string> => {
  const { choices } = await graft.openai.chat.completions.create({
    model,
    messages: [{ role: 'user', content: question }],
    max_completion_tokens: 4,
    temperature: 0,
    ...more,
  });
  return choices[0]?.message.content ?? '';
};

/** Trains until the model reproduces the answers. Returns its id. */
async function trained(records: readonly object[], peft: object, model = 'tiny'): Promise<string> {
  const { id } = await graft.createJob({
    model,
    seed: 5,
    training_file: await upload(records),
    hyperparameters: { batch_size: 4, n_epochs: 20 },
    peft,
    graft: { base_dtype: 'f32', learning_rate: 2e-2 },
  });
  return (await graft.succeeded(id)).fine_tuned_model ?? '';
}

it('a job trains two tasks, and a chat selects one', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const job = {
    model: 'tiny',
    seed: 5,
    hyperparameters: { batch_size: 2, n_epochs: 4 },
    peft: { peft_type: 'MULTITASK_PROMPT_TUNING', num_virtual_tokens: 4, num_tasks: 2 },
    graft: { base_dtype: 'f32' },
  };
  const learnt = Array.from({ length: 10 }, (_, i) => chat(i % 2 ? 'no' : 'yes', i % 2));
  const lacking = await upload([...learnt, chat('no')]);
  await expect(graft.createJob({ ...job, training_file: lacking })).rejects.toMatchObject({
    status: 400,
    code: 'invalid_training_file',
    message: expect.stringContaining('line 11: "task_ids" is missing') as unknown,
  });
  const { id } = await graft.createJob({ ...job, training_file: await upload(learnt) });
  const { fine_tuned_model: model } = await graft.succeeded(id);
  const ask = (more: object) => answered(model ?? '', more);
  for (const task_ids of [0, 1]) expect(await ask({ graft: { task_ids } })).not.toBe('');
  const refused = (message: string) => ({
    status: 400,
    message: expect.stringContaining(`graft.task_ids: ${message}`) as unknown,
  });
  const among = 'this model was trained for 2 tasks';
  await expect(ask({})).rejects.toMatchObject(refused(`${among}: say which, 0 to 1`));
  await expect(ask({ graft: { task_ids: 2 } })).rejects.toMatchObject(
    refused(`${among}: expected an integer from 0 to 1, got 2`),
  );
  const base = { model: 'tiny', graft: { task_ids: 0 } };
  await expect(ask(base)).rejects.toMatchObject(refused('this model has no tasks; leave it out'));
});

it('Polytropon answers with the task that a chat selects', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const learnt = Array.from({ length: 16 }, (_, i) => chat(i % 2 ? 'no' : 'yes', i % 2));
  const peft = { peft_type: 'POLY', n_tasks: 2, n_skills: 2, r: 8, target_modules: 'all-linear' };
  const model = await trained(learnt, peft);
  expect(await answered(model, { graft: { task_ids: 0 } })).toBe('yes');
  expect(await answered(model, { graft: { task_ids: 1 } })).toBe('no');
  await expect(answered(model)).rejects.toMatchObject({
    status: 400,
    message: expect.stringContaining('say which, 0 to 1') as unknown,
  });
});

it('an aLoRA acts if a chat invokes it, and answers like the base otherwise', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const invoked = `${QUESTION} Q!`;
  const learnt = Array.from({ length: 16 }, () => chat('yes', undefined, invoked));
  // the letters Q and ! in the tokenizer
  const peft = { peft_type: 'LORA', alora_invocation_tokens: [45, 70], r: 8 };
  const model = await trained(learnt, { ...peft, target_modules: 'all-linear' });
  expect(await answered(model, {}, invoked)).toBe('yes');
  const bare = await answered('tiny', {}, QUESTION);
  expect(await answered(model, {}, QUESTION)).toBe(bare);
  expect(bare).not.toBe('yes');
});

it('a LoRA of experts answers as trained, next to chats with its base', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const learnt = Array.from({ length: 16 }, () => chat('yes'));
  const peft = { peft_type: 'LORA', r: 8, target_modules: [], target_parameters: ['experts.gate_up_proj', 'experts.down_proj'] }; // prettier-ignore
  const model = await trained(learnt, peft, 'experts');
  const asked = ['experts', model, 'experts', model];
  const [base, ours, ...again] = await Promise.all(asked.map((one) => answered(one)));
  expect(ours).toBe('yes');
  expect(base).not.toBe('yes');
  expect(again).toEqual([base, ours]);
});
