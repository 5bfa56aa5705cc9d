// A real trainer process from its parent's side: runs share it, chats are answered between steps, and every way to end
// a run or the process is reported.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  grouped,
  MAX_COMMAND_BYTES,
  type GenerateAnswer,
  type GenerateRequest,
  type Spec,
} from '@graft/contracts';
import { TrainerProcess } from '@graft/worker';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { testSpec } from '../test-spec.js';
import { writeChats, writeTinyBase } from '../tiny-base.js';
import { onFact, type FlatFact as Fact, type FlatFactOf as FactOf } from './flat-facts.js';

type Trainer = TrainerProcess;
type AskCommand = Extract<Parameters<Trainer['send']>[0], { type: 'ask' }>;
type AdapterSource = NonNullable<AskCommand['adapter']>;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'graft-trainer-'));
  writeTinyBase(join(dir, 'base'));
  writeChats(join(dir, 'train.jsonl'), 20);
  writeFileSync(join(dir, 'bad.jsonl'), '{"messages":[{"role":"user","content":"x"}]}\n');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const alive = new Set<Trainer>();
afterEach(async () => {
  for (const trainer of alive) trainer.kill();
  await Promise.all([...alive].map((trainer) => trainer.exited));
  alive.clear();
});

const SPEC = testSpec({
  model: 'base-1',
  n_epochs: 3,
});

function trainer(): {
  it: Trainer;
  facts: Fact[];
  next<K extends Fact['type']>(type: K, where?: (fact: FactOf<K>) => boolean): Promise<FactOf<K>>;
} {
  const process = new TrainerProcess({ threads: 1 });
  alive.add(process);
  const facts: Fact[] = [];
  onFact(process, (fact) => void facts.push(fact));
  process.send({
    type: 'load',
    baseId: 'base-1',
    path: join(dir, 'base'),
    dtype: 'f32',
    quantization: null,
  });
  const next = <K extends Fact['type']>(
    type: K,
    where: (fact: FactOf<K>) => boolean = () => true,
  ): Promise<FactOf<K>> =>
    new Promise((resolve, reject) => {
      const look = (fact: Fact): void => {
        if (fact.type === type && where(fact as FactOf<K>)) resolve(fact as FactOf<K>);
      };
      facts.forEach(look);
      onFact(process, look);
      void process.exited.then(({ message, stderrTail }) =>
        reject(new Error(`no ${type}: ${message}\n${stderrTail}`)),
      );
    });
  return { it: process, facts, next };
}

const start = (jobId: string, changes: Partial<Spec> = {}, files: object = {}) =>
  ({
    type: 'start',
    jobId,
    attempt: 1,
    spec: { ...SPEC, ...changes },
    baseId: 'base-1',
    baseName: 'org/base-1',
    trainFile: join(dir, 'train.jsonl'),
    validFile: null,
    initAdapterDir: null,
    checkpointDir: null,
    workDir: join(dir, `work-${jobId}`),
    ...files,
  }) as const;

const chat = (
  id: string,
  {
    adapter = null,
    ...changes
  }: Partial<GenerateRequest> & { adapter?: AdapterSource | null } = {},
): AskCommand => ({
  type: 'ask',
  kind: 'generate',
  id,
  payload: {
    messages: [{ role: 'user', content: 'what is 3 plus 3?' }],
    prompt: null,
    max_tokens: 12,
    temperature: 0,
    top_p: 1,
    seed: 1,
    stop: [],
    ...changes,
  },
  adapter,
  file: null,
});

const piece = (fact: Fact) =>
  fact.type === 'answer' && fact.piece !== null ? (JSON.parse(fact.piece) as GenerateAnswer) : null;

const text = (facts: readonly Fact[], id: string): string =>
  facts
    .flatMap((fact) => (fact.type === 'answer' && fact.id === id ? [piece(fact)?.text ?? ''] : []))
    .join('');

it('identifies itself, loads, trains two runs together and writes their adapters', async () => {
  const { it: process, facts, next } = trainer();
  expect(await process.ready).toMatchObject({ protocol: 4, pid: process.pid, threads: 1 });
  expect(await next('loaded')).toMatchObject({ baseId: 'base-1', family: 'llama' });
  process.send(start('one'));
  process.send(start('two', { seed: 2, n_epochs: 2 }));
  const [one, two] = await Promise.all([
    next('finished', ({ jobId }) => jobId === 'one'),
    next('finished', ({ jobId }) => jobId === 'two'),
  ]);
  expect([one.step, two.step]).toEqual([15, 10]);
  expect(readdirSync(join(dir, 'work-one', 'adapter'))).toEqual(
    expect.arrayContaining(['adapter_config.json', 'adapter_model.safetensors']),
  );
  const config = readFileSync(join(dir, 'work-one', 'adapter', 'adapter_config.json'), 'utf8');
  expect(JSON.parse(config)).toMatchObject({
    base_model_name_or_path: 'org/base-1',
    revision: null,
  });
  // the run whose data are read first starts first
  const started = facts.find((fact) => fact.type === 'started' && fact.jobId === 'one');
  expect(started).toMatchObject({
    from_step: 0,
    total_steps: 15,
    training_examples: 20,
  });
  const order = facts.flatMap((fact) => (fact.type === 'step' ? [fact.jobId] : []));
  // interleaved, not one after the other
  expect(order.indexOf('two')).toBeLessThan(order.lastIndexOf('one'));
  expect(order.indexOf('one')).toBeLessThan(order.lastIndexOf('two'));
  process.end();
  expect((await process.exited).class).toBe('done');
});

it('reports the memory of a run, then starts it when it is admitted or ends it on a stop', async () => {
  const { it: process, facts, next } = trainer();
  process.send(start('in', { n_epochs: 1 }, { asks: true }));
  process.send(start('out', { n_epochs: 1 }, { asks: true }));
  process.send(start('other', { n_epochs: 1 }));
  const { bytes } = await next('needs', ({ jobId }) => jobId === 'in');
  expect(bytes.total).toBeCloseTo(bytes.state + bytes.activations + bytes.data);
  await next('finished', ({ jobId }) => jobId === 'other');
  expect(facts.some((fact) => fact.type === 'started' && fact.jobId !== 'other')).toBe(false);
  process.send({ type: 'admit', jobId: 'in', attempt: 1, bytes: bytes.total });
  await next('finished', ({ jobId }) => jobId === 'in');
  process.send({ type: 'stop', jobId: 'out', attempt: 1, reason: 'pause' });
  expect(await next('stopped')).toMatchObject({ jobId: 'out', reason: 'pause' });
});

it('answers chats while it trains, on the base and on adapters', async () => {
  const { it: process, facts, next } = trainer();
  process.send(start('a', { n_epochs: 1 }));
  await next('finished');
  const adapter = join(dir, 'work-a', 'adapter');
  process.send(chat('alone'));
  await next('answer', ({ id, last }) => id === 'alone' && last);
  process.send(start('b', { n_epochs: 20 }));
  await next('step', ({ jobId, step }) => jobId === 'b' && step === 2);
  process.send(chat('busy'));
  process.send(chat('tuned', { adapter: { key: 'a', dir: adapter } }));
  process.send(chat('wrong', { adapter: { key: 'none', dir: join(dir, 'nothing') } }));
  const [busy, , wrong] = await Promise.all(
    ['busy', 'tuned', 'wrong'].map((name) => next('answer', ({ id, last }) => id === name && last)),
  );
  expect(facts.some((fact) => fact.type === 'finished' && fact.jobId === 'b')).toBe(false);
  expect(busy && piece(busy)).toMatchObject({ finish_reason: 'length', completion_tokens: 12 });
  expect(wrong).toMatchObject({ last: true, errorCode: 'invalid_adapter' });
  expect(text(facts, 'busy')).toBe(text(facts, 'alone'));
  expect(text(facts, 'tuned')).not.toBe(text(facts, 'alone'));
  // The adapter is attached already, so its folder, deleted after one answer, is not needed again. Two at a time.
  const kept = { adapter: { key: 'a', dir: join(dir, 'nothing') } };
  process.send(chat('again', kept));
  process.send(chat('beside', kept));
  const answers = await Promise.all(
    ['again', 'beside'].map((name) => next('answer', ({ id, last }) => id === name && last)),
  );
  expect(answers.map(({ errorMessage }) => errorMessage)).toEqual([null, null]);
  expect(text(facts, 'again')).toBe(text(facts, 'tuned'));
  expect(text(facts, 'beside')).toBe(text(facts, 'tuned'));
});

it('samples the same text for the same seed', async () => {
  const { it: process, facts, next } = trainer();
  for (const [id, seed] of [
    ['x', 7],
    ['y', 7],
    ['z', 8],
  ] as const)
    process.send(chat(id, { temperature: 1, top_p: 0.9, seed }));
  await Promise.all(
    ['x', 'y', 'z'].map((name) => next('answer', ({ id, last }) => id === name && last)),
  );
  expect(text(facts, 'x')).toBe(text(facts, 'y'));
  expect(text(facts, 'z')).not.toBe(text(facts, 'x'));
});

it('stops runs on request: cancel leaves nothing, pause leaves a checkpoint to resume from', async () => {
  const { it: process, facts, next } = trainer();
  // So many steps that no checkpoint is due.
  const spec = { n_epochs: 50, save_steps: 1000 };
  process.send(start('cancelled', spec));
  process.send(start('paused', spec));
  await next('step', ({ jobId, step }) => jobId === 'paused' && step === 3);
  process.send({ type: 'stop', jobId: 'cancelled', attempt: 1, reason: 'cancel' });
  process.send({ type: 'stop', jobId: 'paused', attempt: 1, reason: 'pause' });
  await Promise.all(
    ['cancelled', 'paused'].map((name) => next('stopped', ({ jobId }) => jobId === name)),
  );
  const saved = facts.filter((fact): fact is FactOf<'saved'> => fact.type === 'saved');
  expect(saved.map(({ jobId }) => jobId)).toEqual(['paused']);
  const checkpointDir = join(dir, 'work-paused', `checkpoint-${saved[0]?.step}`);
  process.send(start('paused', spec, { attempt: 2, checkpointDir }));
  expect(await next('started', ({ attempt }) => attempt === 2)).toMatchObject({
    jobId: 'paused',
    from_step: saved[0]?.step,
  });
  // A checkpoint of another build is accepted, with a warning.
  const manifest = join(checkpointDir, 'manifest.json');
  const made = JSON.parse(readFileSync(manifest, 'utf8')) as object;
  expect(made).toMatchObject({ base_id: 'base-1' });
  writeFileSync(manifest, JSON.stringify({ ...made, trainer_build: 'older-1' }));
  expect(facts.filter(({ type }) => type === 'log')).toEqual([]);
  process.send(start('paused', spec, { attempt: 3, checkpointDir }));
  expect(await next('log', ({ attempt }) => attempt === 3)).toMatchObject({
    level: 'warn',
    message: expect.stringMatching(
      /made by trainer older-1, this is .*: steps are computed differently since/,
    ) as string,
  });
  await next('started', ({ attempt }) => attempt === 3);
  // Only the processor differs, not the arithmetic: another case.
  const [numerics] = (await process.ready).trainerBuild.split('+');
  writeFileSync(manifest, JSON.stringify({ ...made, trainer_build: `${numerics}+other` }));
  process.send(start('paused', spec, { attempt: 4, checkpointDir }));
  expect(await next('log', ({ attempt }) => attempt === 4)).toMatchObject({
    message: expect.stringMatching(/: results may differ in the last bits$/) as string,
  });
});

it('saves a step once, also if a pause follows immediately', async () => {
  const { it: process, facts, next } = trainer();
  process.send(start('paused', { n_epochs: 50, save_steps: 1 }));
  await next('saved', ({ step }) => step === 3);
  process.send({ type: 'stop', jobId: 'paused', attempt: 1, reason: 'pause' });
  const { step } = await next('stopped');
  const saved = facts.flatMap((fact) => (fact.type === 'saved' ? [fact.step] : []));
  expect(saved).toEqual(Array.from({ length: step }, (_, index) => index + 1));
});

it('fails only the run whose data, options or values are invalid', async () => {
  const { it: process, next } = trainer();
  process.send(start('good', { n_epochs: 4 }));
  process.send(start('data', {}, { trainFile: join(dir, 'bad.jsonl') }));
  process.send(start('options', { peft: { peft_type: 'LORA', target_modules: ['nothing'] } }));
  process.send(
    start('diverges', {
      peft: null,
      learning_rate: 9,
      n_epochs: 50,
      max_grad_norm: 0,
      lr_schedule: 'constant',
      weight_decay: 9,
      loraplus_lr_ratio: null,
      loraplus_lr_embedding: 1e-6,
    }),
  );
  const failed = (name: string) => next('failed', ({ jobId }) => jobId === name);
  expect(await failed('data')).toMatchObject({
    code: 'invalid_training_file',
    message: expect.stringContaining('line 1') as string,
    retryable: false,
  });
  expect(await failed('options')).toMatchObject({ param: 'peft.target_modules' });
  expect(await failed('diverges')).toMatchObject({ code: 'nonfinite', retryable: false });
  expect(await next('finished', ({ jobId }) => jobId === 'good')).toMatchObject({ step: 20 });
});

it('warns about a diverged run, and not about a good one', async () => {
  const { it: process, facts, next } = trainer();
  const peft = { peft_type: 'LORA', r: 4, modules_to_save: ['lm_head', 'norm'] };
  process.send(start('ruined', { peft, learning_rate: 3, n_epochs: 6 }));
  process.send(start('good', { n_epochs: 6 }));
  for (const name of ['ruined', 'good']) await next('finished', ({ jobId }) => jobId === name);
  const warnings = facts.filter((fact) => fact.type === 'log');
  expect(warnings.map(({ jobId, level, code }) => [jobId, level, code])).toEqual([
    ['ruined', 'warn', 'diverged'],
  ]);
  expect(warnings[0]?.message).toMatch(
    /^the loss is [\d.]+, worse than guessing among 96 tokens \(4\.56\), for 5 steps: the run has diverged; lower graft\.learning_rate \(now 3\)$/,
  );
});

it('does not repeat a warning after a checkpoint', async () => {
  const { it: process, facts, next } = trainer();
  const peft = { peft_type: 'LORA', r: 4, modules_to_save: ['lm_head', 'norm'] };
  const spec = {
    peft,
    learning_rate: 3,
    lr_schedule: 'constant',
    n_epochs: 6,
    save_steps: 10,
  } as const;
  const warned = async (attempt: number, files: object): Promise<unknown[]> => {
    process.send(start('repeated', spec, { attempt, ...files }));
    await next('finished', (fact) => fact.attempt === attempt);
    return facts.flatMap((fact) =>
      fact.type === 'log' && fact.attempt === attempt ? [fact.code] : [],
    );
  };
  expect(await warned(1, {})).toEqual(['diverged']);
  const checkpointDir = join(dir, 'work-repeated', 'checkpoint-10');
  expect(await warned(2, { checkpointDir })).toEqual([]);
});

it('saves at the end of each epoch and of the run, and resumes from there', async () => {
  const { it: process, facts, next } = trainer();
  // Epochs of five steps: checkpoints are ten steps apart, except for the last.
  process.send(start('epochs', { n_epochs: 3 }));
  process.send(start('steps', { n_epochs: 1, save_steps: 4 }));
  process.send(start('whole', { n_epochs: 1, peft: null, learning_rate: 1e-4 }));
  const of =
    (name: string, attempt = 1) =>
    (fact: { jobId: string; attempt: number }) =>
      fact.jobId === name && fact.attempt === attempt;
  for (const name of ['epochs', 'steps', 'whole']) await next('finished', of(name));
  const saved = (name: string, attempt = 1) =>
    facts.filter((fact) => fact.type === 'saved').filter(of(name, attempt));
  expect(saved('epochs').map(({ step }) => step)).toEqual([10, 15]);
  expect(saved('steps').map(({ step }) => step)).toEqual([4, 5]);
  // The model follows immediately, so a checkpoint would add nothing.
  expect(saved('whole')).toEqual([]);
  const weights = ({ adapter }: FactOf<'saved' | 'finished'>) =>
    adapter.find(({ name }) => name === 'adapter_model.safetensors')?.sha256;
  const finished = await next('finished', of('epochs'));
  const last = saved('epochs')[1] as FactOf<'saved'>;
  expect(facts.indexOf(last)).toBeLessThan(facts.indexOf(finished));
  expect(weights(last)).toBe(weights(finished));

  const checkpointDir = join(dir, 'work-epochs', 'checkpoint-15');
  process.send(start('epochs', { n_epochs: 3 }, { attempt: 2, checkpointDir }));
  const again = await next('finished', of('epochs', 2));
  expect(weights(again)).toBe(weights(finished));
  expect(saved('epochs', 2)).toEqual([]);
});

it('truncates long messages of a run without affecting others', async () => {
  const { it: process, next } = trainer();
  process.send(start('good', { n_epochs: 4 }));
  // Its error contains the folder twice with every quote escaped twice: 3 MB.
  process.send(start('wordy', {}, { checkpointDir: `/${'"'.repeat(400_000)}` }));
  const { code, message, retryable } = await next('failed', ({ jobId }) => jobId === 'wordy');
  expect({ code, retryable }).toEqual({ code: 'damaged_checkpoint', retryable: true });
  expect(message.length).toBeLessThanOrEqual(8192);
  expect(message).toMatch(/^checkpoint "+.* more characters\)$/);
  expect(await next('finished', ({ jobId }) => jobId === 'good')).toMatchObject({ step: 20 });
});

it('rejects a command that is too large and accepts the next one', async () => {
  const { it: process, next } = trainer();
  const tooMuch = 'q'.repeat(MAX_COMMAND_BYTES);
  const huge = { peft: { peft_type: 'LORA', target_modules: [tooMuch] } };
  const most = grouped(MAX_COMMAND_BYTES);
  expect(() => process.send(start('huge', huge))).toThrow(
    new RegExp(`^the job's settings are 5,24\\d,\\d{3} bytes long; the maximum is ${most}$`),
  );
  expect(() => process.send(chat('long', { messages: null, prompt: tooMuch }))).toThrow(
    new RegExp(`^the request is 5,24\\d,\\d{3} bytes`),
  );
  process.send(start('next', { n_epochs: 1 }));
  await next('finished', ({ jobId }) => jobId === 'next');
});

it('reports why a base model cannot be loaded', async () => {
  const { it: process, next } = trainer();
  process.send({
    type: 'load',
    baseId: 'no',
    path: join(dir, 'nothing'),
    dtype: 'f32',
    quantization: null,
  });
  expect(await next('loadFailed')).toMatchObject({ code: 'invalid_model' });
});

it('ends when its stdin closes, and does not see the parent’s environment', async () => {
  process.env['SECRET_DSN'] = 'postgres://secret';
  const { it: child, next } = trainer();
  child.send(start('orphan', { n_epochs: 50 }));
  await next('step');
  expect(readFileSync(`/proc/${child.pid}/environ`, 'utf8')).not.toContain('secret');
  const closed = performance.now();
  child.end();
  await child.exited;
  expect(performance.now() - closed).toBeLessThan(3000);
  delete process.env['SECRET_DSN'];
});

it('respects GRAFT_ISA', async () => {
  const given = process.env['GRAFT_ISA'];
  process.env['GRAFT_ISA'] = 'generic';
  const { it: child } = trainer();
  if (given === undefined) delete process.env['GRAFT_ISA'];
  else process.env['GRAFT_ISA'] = given;
  expect((await child.ready).trainerBuild).toMatch(/\+generic\+max-generic$/);
});

it('is killed as hung if it is silent', async () => {
  const child = new TrainerProcess({ threads: 1, hangMs: 8000 });
  alive.add(child);
  await child.ready;
  process.kill(child.pid, 'SIGSTOP');
  const exit = await child.exited;
  expect(exit).toMatchObject({ class: 'hang' });
});
