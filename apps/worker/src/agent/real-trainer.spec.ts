import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Spec } from '@graft/contracts';
import { Command_Action, type BaseRef, type BlobRef } from '@graft/contracts/grpc';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { writeChats, writeTinyBase } from '../../../../test/tiny-base.js';
import { until } from '../../test/control-plane.js';
import { useScene } from '../../test/scene.js';
import { checkReach, openSandbox } from '../trainer-pool/sandbox.js';

const TRAINER = fileURLToPath(new URL('../../bundle/trainer/main.js', import.meta.url));
const SPEC: Partial<Spec> = {
  peft: { peft_type: 'LORA', r: 4, lora_dropout: 0.1 },
  batch_size: 4,
  n_epochs: 50,
  max_steps: 40,
  learning_rate: 0.01,
  max_grad_norm: 1,
  save_steps: 10,
};

const scene = useScene();
let base: BaseRef;
let trainingFile: BlobRef;

beforeEach(() => {
  const folder = writeTinyBase(join(scene.home, 'tiny'));
  base = {
    id: 'tiny',
    nameOrPath: 'tiny',
    files: readdirSync(folder).map((name) =>
      scene.plane.blob(name, readFileSync(join(folder, name))),
    ),
  };
  trainingFile = scene.plane.blob(
    'train.jsonl',
    readFileSync(writeChats(join(scene.home, 'chats.jsonl'), 40)),
  );
});

afterEach(() => vi.unstubAllEnvs());

const adapterOf = (job: string, attempt = 1) =>
  scene.plane
    .fact('finished', job, attempt)
    ?.adapter.find((file) => file.name === 'adapter_model.safetensors')?.sha256;

const lossesOf = (job: string, attempt = 1) =>
  scene.plane.all('step', job, attempt).map(({ step, metrics }) => [step, metrics['loss']]);

/** Returns a field of a /proc file without its name. */
const procLine = (pid: number, file: string, name: string): string =>
  new RegExp(`^${name}:?\\s+(.*?)\\s*$`, 'm').exec(
    readFileSync(`/proc/${pid}/${file}`, 'utf8'),
  )?.[1] ?? '';

function confined(pid: number): void {
  expect(procLine(pid, 'status', 'NoNewPrivs')).toBe('1');
  expect(procLine(pid, 'status', 'Umask')).toBe('0077');
  expect(procLine(pid, 'limits', 'Max core file size')).toMatch(/^0 +0\b/);
  expect(procLine(pid, 'limits', 'Max open files')).toMatch(/^1024 +1024\b/);
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '');
  expect(stat.split(' ')[2]).toBe(String(pid)); // process group of its own
}

function namesIn(pid: number): string[] {
  const entries = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  return entries.flatMap((entry) => (entry === '' ? [] : [entry.slice(0, entry.indexOf('='))]));
}

const NEEDED = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'LD_LIBRARY_PATH', 'LD_PRELOAD'].concat(
  [
    'CUDA_DEVICE_ORDER',
    'CUDA_VISIBLE_DEVICES',
    'GRAFT_MEASURE_SECONDS',
    'GRAFT_THREADS',
    'OMP_NUM_THREADS',
    'OPENBLAS_NUM_THREADS',
  ],
  ['PEFT_JOB', 'GRAFT_WORK_MARK'],
);

/** Whether this process can start trainers as another user who can read the trainer's script. */
function canBeNobody(): boolean {
  try {
    checkReach(openSandbox('nobody'), TRAINER, '/');
    return true;
  } catch {
    return false;
  }
}

describe('a run that is too large for its worker', () => {
  it('is rejected by name; with a hundred long chats queued, another run has the same result as alone', async () => {
    // The base uses about 270 MB.
    const most = 340e6;
    const options = { trainerMain: TRAINER, freeMemory: () => most, totalMemory: () => most };
    await scene.startAgent({ maxChats: 64 }, options);
    await scene.pulled();
    const assign = (jobId: string, spec: Partial<Spec> = {}): void =>
      scene.plane.assign({ jobId, plan: {}, base, trainingFile, spec: { ...SPEC, ...spec } });
    assign('alone');
    await until('it alone', () => scene.plane.fact('finished', 'alone'), 30_000);

    assign('good');
    await until('a step of it', () => scene.plane.fact('step', 'good'), 20_000);
    assign('huge', { peft: { peft_type: 'LORA', r: 4096, target_modules: 'all-linear' }, save_steps: 0 }); // prettier-ignore
    for (let n = 0; n < 100; n++) {
      const sampling = { max_tokens: 32_768, temperature: 1, seed: n };
      scene.plane.chat(`chat-${n}`, `what is ${n} plus 1?`, sampling, { base });
    }
    expect(
      await until('the huge one to be refused', () => scene.plane.fact('failed', 'huge'), 20_000),
    ).toMatchObject({
      code: 'no_memory',
      param: 'peft.r',
      message: expect.stringMatching(
        /MB of memory in addition to its base .*; lower peft\.r or list fewer peft\.target_modules$/,
      ) as string,
    });
    await until('the valid run', () => scene.plane.fact('finished', 'good'), 60_000);
    expect(adapterOf('good')).toBe(adapterOf('alone'));
    expect(lossesOf('good')).toEqual(lossesOf('alone'));
    const ends = () => scene.plane.chunks.filter(({ last }) => last);
    await until('all chats to end', () => ends().length === 100, 60_000);
    expect(ends().filter(({ errorCode }) => errorCode !== '')).toEqual([]);
  }, 180_000);
});

describe('the sandbox of a real trainer', () => {
  it('has an environment without secrets, no new privileges, no core dumps and few open files', async () => {
    for (const name of [
      'GRAFT_WORKER_TOKEN',
      'GRAFT_DATABASE_URL',
      'HF_TOKEN',
      'AWS_SECRET_ACCESS_KEY',
    ])
      vi.stubEnv(name, 'canary');
    await scene.startAgent({}, { trainerMain: TRAINER });
    const [pid = 0] = scene.trainerPids();
    const names = namesIn(pid);
    expect(names).toContain('GRAFT_THREADS');
    expect(names.filter((name) => !NEEDED.includes(name))).toEqual([]);
    expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).not.toContain('canary');
    confined(pid);
  });

  it.skipIf(!canBeNobody())('uses the named user, without a network', async () => {
    const { uid } = openSandbox('nobody').user!;
    await scene.startAgent({ trainerUser: 'nobody' }, { trainerMain: TRAINER });
    await scene.pulled();
    const [pid = 0] = scene.trainerPids();
    confined(pid);
    expect(procLine(pid, 'status', 'Uid').split(/\s+/)).toEqual(Array(4).fill(String(uid)));
    expect(procLine(pid, 'status', 'CapEff')).toMatch(/^0+$/);
    expect(namesIn(pid)).not.toContain('HOME');
    const devices = readFileSync(`/proc/${pid}/net/dev`, 'utf8').split('\n').slice(2, -1);
    expect(devices.map((line) => line.split(':')[0]?.trim())).toEqual(['lo']);

    scene.plane.assign({ plan: {}, base, trainingFile, spec: SPEC });
    const runs = join(scene.home, 'runs');
    await until('a run folder of its own', () =>
      readdirSync(runs).some((run) => {
        // The trainer cannot replace a folder by a link before the agent changes its owner.
        const above = statSync(join(runs, run));
        const work = statSync(join(runs, run, 'work'), { throwIfNoEntry: false });
        return (
          above.uid === 0 && above.mode === 0o40711 && work?.uid === uid && work.mode === 0o40700
        );
      }),
    );
    await until('finished', () => scene.plane.fact('finished'), 20_000);
    const blobs = readdirSync(join(scene.home, 'cache', 'blobs'));
    const adopted = scene.plane.fact('finished')?.adapter.map((file) => file.sha256) ?? [];
    expect(blobs).toEqual(expect.arrayContaining(adopted));
    for (const name of blobs)
      expect(statSync(join(scene.home, 'cache', 'blobs', name))).toMatchObject({
        uid: 0,
        mode: 0o100444,
      });
  });
});

describe('the real trainer under the agent', () => {
  it('trains, resumes after kill -9 with identical bytes, packs two runs, and serves chats', async () => {
    await scene.startAgent({}, { trainerMain: TRAINER });
    await scene.pulled();
    expect(scene.plane.hellos[0]?.libtorch).toMatch(/^\d+\.\d+/);
    // The first trainer measured its speed, if the node has no GPU.
    const { speed, devices } = scene.plane.hellos[0] ?? {};
    if (devices?.[0] === 'cpu') expect(speed?.bf16Flops).toBeGreaterThan(1e7);
    const assign = (jobId: string, more: object = {}) =>
      scene.plane.assign({ jobId, plan: {}, base, trainingFile, spec: SPEC, ...more });

    assign('whole');
    await until('the whole run', () => scene.plane.fact('finished', 'whole'), 20_000);
    expect(lossesOf('whole').map(([step]) => step)).toEqual(
      Array.from({ length: 40 }, (_, index) => index + 1),
    );
    expect(
      scene.plane
        .fact('finished', 'whole')
        ?.adapter.map((file) => file.name)
        .sort(),
    ).toEqual(['README.md', 'adapter_config.json', 'adapter_model.safetensors']);

    assign('killed');
    const saved = await until('a checkpoint', () => scene.plane.fact('saved', 'killed'), 20_000);
    for (const pid of scene.trainerPids()) process.kill(pid, 'SIGKILL');
    const failed = await until('failed', () => scene.plane.fact('failed', 'killed'));
    expect(failed).toMatchObject({ code: 'crash', retryable: true });
    assign('killed', { attempt: 2, checkpoint: saved.files, checkpointStep: saved.step });
    await until('the second attempt', () => scene.plane.fact('finished', 'killed', 2), 20_000);
    expect(scene.plane.fact('started', 'killed', 2)?.from_step).toBe(saved.step);
    expect(lossesOf('killed', 2)).toEqual(lossesOf('whole').slice(saved.step));
    expect(adapterOf('killed', 2)).toBe(adapterOf('whole'));

    assign('one');
    assign('two', { spec: { ...SPEC, seed: 8 } });
    for (const job of ['one', 'two'])
      await until(job, () => scene.plane.fact('finished', job), 20_000);
    expect(scene.trainerPids()).toHaveLength(1);
    expect(adapterOf('two')).not.toBe(adapterOf('one'));

    const adapter = [...(scene.plane.fact('finished', 'whole')?.adapter ?? [])];
    scene.plane.chat('g1', 'what is 3 plus 3?', {}, { base, adapter });
    const last = await until(
      'an answer',
      () => scene.plane.chunks.find((chunk) => chunk.last),
      20_000,
    );
    expect(last.errorMessage).toBe('');
    expect(last.completion_tokens).toBeGreaterThan(0);
  }, 90_000);

  it('pauses right after a checkpoint without saving it again during the upload', async () => {
    await scene.startAgent({}, { trainerMain: TRAINER });
    await scene.pulled();
    const spec = { ...SPEC, max_steps: null, save_steps: 1 };
    scene.plane.assign({ plan: {}, base, trainingFile, spec });
    await until('a checkpoint', () => scene.plane.fact('saved'), 20_000);
    const pause = { jobId: 'job-1', attempt: 1, action: Command_Action.ACTION_PAUSE };
    scene.plane.send({ $case: 'command', value: pause });
    const { reason, step } = await until('stopped', () => scene.plane.fact('stopped'), 20_000);
    expect(reason).toBe('pause');
    expect(scene.plane.all('log')).toEqual([]);
    expect(scene.plane.all('saved').at(-1)?.step).toBe(step);
  }, 30_000);

  it('finishes at the requested step with a model, and reports its reserved memory', async () => {
    await scene.startAgent({}, { trainerMain: TRAINER });
    await scene.pulled();
    const spec = { ...SPEC, max_steps: null, n_epochs: 50 };
    scene.plane.assign({ plan: {}, base, trainingFile, spec });
    const begun = await until('begun', () => scene.plane.fact('started'), 20_000);
    const { total_steps: totalSteps, run_bytes: runBytes, device, threads } = begun;
    const origin = { device, threads, trainer_build: begun.trainer_build };
    expect(runBytes).toBeGreaterThan(1e6);
    expect(origin).toEqual({
      device: 'cpu',
      threads: 1,
      trainer_build: expect.stringContaining('libtorch'),
    });
    const finish = { jobId: 'job-1', attempt: 1, action: Command_Action.ACTION_FINISH, step: 2 };
    scene.plane.send({ $case: 'command', value: finish });
    const { step, adapter } = await until('finished', () => scene.plane.fact('finished'), 20_000);
    expect(step).toBeGreaterThanOrEqual(2);
    expect(step).toBeLessThan(totalSteps);
    expect(adapter.map(({ name }) => name)).toContain('adapter_model.safetensors');
  }, 30_000);

  it('reports a user error with its field', async () => {
    await scene.startAgent({}, { trainerMain: TRAINER });
    await scene.pulled();
    scene.plane.assign({
      plan: {},
      base,
      trainingFile,
      spec: { ...SPEC, peft: { peft_type: 'LORA', target_modules: ['nothing'] } },
    });
    const failed = await until('failed', () => scene.plane.fact('failed'), 20_000);
    expect(failed.retryable).toBe(false);
    expect(failed.param).toBe('peft.target_modules');
  }, 30_000);
});
