import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { MAX_COMMAND_BYTES } from '@graft/contracts';
import { Command_Action } from '@graft/contracts/grpc';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { payloadOf, until } from '../../test/control-plane.js';
import { isAlive, useScene, writeInto } from '../../test/scene.js';

const scene = useScene();

describe('an assignment', () => {
  it('fetches blobs, trains, and uploads facts, checkpoints and the adapter', async () => {
    await scene.startAgent();
    await scene.pulled();
    expect(scene.plane.hellos[0]).toMatchObject({
      name: 'spec',
      pool: 'default',
      slots: 2,
      trainerBuild: 'small-1',
      devices: ['cpu'],
      leases: [],
    });
    scene.plane.assign({ plan: { steps: 20, saveEvery: 10 } });
    const finished = await until('finished', () => scene.plane.fact('finished'));
    const kinds = scene.plane.facts().map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === 'step')).toHaveLength(20);
    expect(kinds.indexOf('started')).toBeLessThan(kinds.indexOf('step'));
    expect(kinds.at(-1)).toBe('finished');
    expect(scene.plane.facts().map((event) => event.sequence)).toEqual(
      kinds.map((_, index) => index + 1),
    );
    const saved = scene.plane.fact('saved');
    expect(saved?.adapter.map((file) => file.name)).toEqual(['adapter.txt']);
    for (const file of [...(saved?.files ?? []), ...finished.adapter])
      expect(scene.plane.blobs.has(file.sha256)).toBe(true);
    expect(scene.plane.puts.every((put) => put.jobId === 'job-1' && put.attempt === 1)).toBe(true);
    await until('the lease to be over', () => scene.plane.heartbeats.at(-1)?.leases.length === 0);
    expect(scene.plane.heartbeats.at(-1)?.residentBases).toEqual(['base-a']);
    await until('the run folder to go', () => readdirSync(join(scene.home, 'runs')).length === 0);
  });

  it('includes the memory of trainers in its own', async () => {
    const own = vi.spyOn(process.memoryUsage, 'rss').mockReturnValue(1);
    onTestFinished(() => own.mockRestore());
    await scene.startAgent();
    await scene.pulled();
    // Node.js alone uses more.
    await until('a heartbeat', () => (scene.plane.heartbeats.at(-1)?.rssBytes ?? 0) > 20e6);
  });

  it('uploads the files of a checkpoint before it reports saved', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 100_000, stepMs: 2, saveEvery: 5 } });
    for (let seen = 0; seen < 5;) {
      const saved = scene.plane.events.flatMap((event) => payloadOf(event, 'saved') ?? []);
      for (const { files } of saved)
        for (const file of files)
          expect(scene.plane.puts.some((put) => put.ref.sha256 === file.sha256)).toBe(true);
      seen = saved.length;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  });

  it('resumes from a checkpoint with the result of an uninterrupted run', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ jobId: 'whole', plan: { steps: 30 } });
    // One checkpoint, since a slow machine would upload only the newest of several.
    scene.plane.assign({ jobId: 'begun', plan: { steps: 15, saveEvery: 10 } });
    await until('both runs', () =>
      ['whole', 'begun'].every((job) => scene.plane.fact('finished', job)),
    );
    const saved = scene.plane.fact('saved', 'begun');
    scene.plane.assign({
      jobId: 'again',
      attempt: 2,
      plan: { steps: 30 },
      checkpoint: [...(saved?.files ?? [])],
      checkpointStep: 10,
    });
    await until('the resumed run', () => scene.plane.fact('finished', 'again', 2));
    expect(scene.plane.fact('started', 'again', 2)?.from_step).toBe(10);
    const [first] = scene.plane.fact('finished', 'whole')?.adapter ?? [];
    expect(scene.plane.fact('finished', 'again', 2)?.adapter[0]).toEqual(first);
  });

  it('fails with a message if the spec, the base or a blob is invalid', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ jobId: 'spec', plan: { steps: 1 }, spec: { batch_size: -1 } });
    expect(await until('spec', () => scene.plane.fact('failed', 'spec'))).toMatchObject({
      code: 'unsupported',
      retryable: false,
    });
    scene.plane.assign({
      jobId: 'base',
      plan: { steps: 1 },
      base: { id: 'b', nameOrPath: 'b', files: [scene.plane.blob('other.txt', 'x')] },
    });
    expect(await until('base', () => scene.plane.fact('failed', 'base'))).toMatchObject({
      code: 'invalid_model',
      message: 'no base.txt',
    });
    scene.plane.assign({
      jobId: 'name',
      plan: { steps: 1 },
      trainingFile: { ...scene.plane.blob('x', 'y'), name: '../../evil' },
    });
    expect((await until('name', () => scene.plane.fact('failed', 'name'))).message).toContain(
      'not a plain file name',
    );
    scene.plane.assign({
      jobId: 'gone',
      plan: { steps: 1 },
      trainingFile: { name: 'x', sha256: 'ab'.repeat(32), size: 3 },
    });
    expect(await until('gone', () => scene.plane.fact('failed', 'gone'))).toMatchObject({
      code: 'io_error',
      retryable: true,
    });
  });

  it('fails if it is too large for a trainer, like a chat, without affecting others', async () => {
    await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ jobId: 'good', plan: { steps: 200, stepMs: 2 } });
    await until('good to run', () => scene.plane.fact('step', 'good'));
    const tooMuch = 'q'.repeat(MAX_COMMAND_BYTES);
    const peft = { peft_type: 'LORA', target_modules: [tooMuch] };
    scene.plane.assign({ jobId: 'huge', plan: { steps: 1 }, spec: { peft } });
    const failed = await until('huge to fail', () => scene.plane.fact('failed', 'huge'));
    expect(failed).toMatchObject({ code: 'user_error', retryable: false });
    expect(failed.message).toContain("the job's settings are");
    scene.plane.chat('long', tooMuch);
    const answer = await until('an answer', () =>
      scene.plane.chunks.find(({ id, last }) => id === 'long' && last),
    );
    expect(answer).toMatchObject({ last: true, errorCode: 'user_error' });
    expect(answer.errorMessage).toContain('the request is');
    await until('good to end', () => scene.plane.fact('finished', 'good'));
    expect(scene.plane.hellos).toHaveLength(1);
  });

  it('truncates long messages of its trainer and preserves the code of a warning', async () => {
    await scene.startAgent();
    await scene.pulled();
    const message = 'x'.repeat(500_000);
    const claims = [
      { kind: 'log', payload: { level: 'warn', message, code: null } },
      { kind: 'log', payload: { level: 'warn', message: 'it has diverged', code: 'diverged' } },
      { kind: 'phase', payload: { code: 'c'.repeat(50_000), message, progress: null } },
      { kind: 'failed', payload: { code: 'crash', message, param: message, retryable: true } },
    ];
    scene.plane.assign({ plan: { claims } });
    await until('failed', () => scene.plane.fact('failed'));
    for (const kind of ['log', 'phase', 'failed'] as const)
      for (const payload of scene.plane.all(kind))
        expect(JSON.stringify(payload).length).toBeLessThan(20_000);
    expect(scene.plane.all('log').map(({ code }) => code)).toEqual([null, 'diverged']);
  });

  it('evicts unused blobs when a run finds the disk full', async () => {
    await scene.startAgent();
    await scene.pulled();
    const cached = (): string[] => readdirSync(join(scene.home, 'cache', 'blobs'));
    const first = scene.plane.blob('train.jsonl', JSON.stringify({ steps: 1, of: 'the first' }));
    scene.plane.assign({ plan: {}, jobId: 'first', trainingFile: first });
    await until('the first', () => scene.plane.fact('finished', 'first'));
    await until('it to be released', () => scene.plane.fact('finished', 'first') && cached().includes(first.sha256)); // prettier-ignore
    const message = 'the images or audio of the run take 9 GB';
    const payload = { code: 'disk_full', message, param: 'training_file', retryable: true };
    const claims = [{ kind: 'failed', payload }];
    scene.plane.assign({ plan: { claims }, jobId: 'second' });
    expect(await until('failed', () => scene.plane.fact('failed', 'second'))).toMatchObject({ code: 'disk_full' }); // prettier-ignore
    await until('room', () => !cached().includes(first.sha256));
  });

  it('rejects a corrupt blob and removes it', async () => {
    await scene.startAgent();
    await scene.pulled();
    const good = scene.plane.blob('train.jsonl', JSON.stringify({ steps: 3 }));
    scene.plane.blobs.set(good.sha256, Buffer.from(JSON.stringify({ steps: 4 })));
    scene.plane.assign({ plan: {}, trainingFile: good });
    const failed = await until('failed', () => scene.plane.fact('failed'));
    expect(failed).toMatchObject({ code: 'io_error', retryable: true });
    expect(failed.message).toContain('damaged in transfer');
    expect(readdirSync(join(scene.home, 'cache', 'partial'))).toEqual([]);
    scene.plane.blobs.set(good.sha256, Buffer.from(JSON.stringify({ steps: 3 })));
    scene.plane.assign({ plan: {}, attempt: 2, trainingFile: good });
    await until('the next attempt', () => scene.plane.fact('finished', 'job-1', 2));
  });

  it('resumes an interrupted download', async () => {
    scene.plane.cutAfter = 1000;
    await scene.startAgent();
    await scene.pulled();
    const big = scene.plane.blob('base.txt', Buffer.alloc(700_000, 'b'));
    scene.plane.assign({
      plan: { steps: 2 },
      base: { id: 'big', nameOrPath: 'big', files: [big] },
    });
    await until('finished', () => scene.plane.fact('finished'));
    expect(
      scene.plane.fetches
        .filter((fetch) => fetch.sha256 === big.sha256)
        .map((fetch) => fetch.offset),
    ).toEqual([0, 1000]);
  });
});

describe('a shared base', () => {
  it('is shared by its runs in one trainer; another base gets another trainer', async () => {
    await scene.startAgent({ slots: 3 });
    await scene.pulled();
    scene.plane.assign({ jobId: 'a', plan: { steps: 150, stepMs: 2 } });
    scene.plane.assign({ jobId: 'b', plan: { steps: 150, stepMs: 2 } });
    scene.plane.assign({
      jobId: 'c',
      plan: { steps: 5 },
      base: {
        id: 'base-c',
        nameOrPath: 'base-c',
        files: [scene.plane.blob('base.txt', 'weights of c')],
      },
    });
    for (const job of ['a', 'b', 'c']) await until(job, () => scene.plane.fact('finished', job));
    const pid = (job: string) =>
      scene.plane.puts
        .find((put) => put.jobId === job && put.ref.name === 'pid.txt')
        ?.data.toString();
    expect(pid('a')).toBe(pid('b'));
    expect(pid('c')).not.toBe(pid('a'));
    expect(scene.trainerPids()).toHaveLength(2);
  });

  it('waits for memory, evicts an idle base, and fails if it can never fit', async () => {
    let free = 1e9;
    await scene.startAgent({}, { freeMemory: () => free });
    await scene.pulled();
    scene.plane.assign({ jobId: 'a', plan: { steps: 60, stepMs: 20 } });
    await until('a to run', () => scene.plane.fact('started', 'a'));
    const [pid = 0] = scene.trainerPids();
    free = 0;
    const other = (letter: string) => ({
      id: `base-${letter}`,
      nameOrPath: `base-${letter}`,
      files: [scene.plane.blob('base.txt', `weights of ${letter}`)],
    });
    scene.plane.assign({ jobId: 'b', plan: { steps: 3 }, base: other('b') });
    const waiting = await until('b to wait', () => scene.plane.phase('waiting_for_memory', 'b'));
    expect(waiting.message).toContain('waiting for a run on another base to end');
    await until('a to be unloaded', () => !isAlive(pid));
    await until('a to have finished', () => scene.plane.fact('finished', 'a'));
    free = 1e9;
    await until('b to run', () => scene.plane.fact('finished', 'b'));
    free = 0;
    scene.plane.assign({ jobId: 'c', plan: { steps: 3 }, base: other('c') });
    const failed = await until('c to be refused', () => scene.plane.fact('failed', 'c'));
    expect(failed.code).toBe('no_memory');
    expect(failed.message).toContain('needs about 268 MB');
  });

  it('reserves its quantized size, as sent by the control plane, next to a loading base', async () => {
    await scene.startAgent({ slots: 3 }, { freeMemory: () => 9e9 });
    await scene.pulled();
    const base = (id: string, residentBytes: number) => ({
      id,
      nameOrPath: id,
      files: [scene.plane.blob('base.txt', `weights of ${id}`)],
      residentBytes,
    });
    scene.plane.assign({ jobId: 'fits', plan: { steps: 3 }, base: base('packed', 2e9) });
    await until('the packed one', () => scene.plane.fact('finished', 'fits'));
    scene.plane.assign({ jobId: 'large', plan: { steps: 3 }, base: base('dense', 8e9) });
    const failed = await until('the dense one', () => scene.plane.fact('failed', 'large'));
    expect(failed.message).toContain('needs about 9.9 GB of memory and 9.0 GB are free');
  });

  it('is unloaded after the idle time', async () => {
    await scene.startAgent({ idleUnloadMs: 300 });
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 3 } });
    await until('finished', () => scene.plane.fact('finished'));
    const [pid = 0] = scene.trainerPids();
    expect(isAlive(pid)).toBe(true);
    await until('the trainer to go', () => !isAlive(pid));
    await until(
      'the base to be unloaded',
      () => scene.plane.heartbeats.at(-1)?.residentBases.length === 0,
    );
  });
});

describe('several GPUs', () => {
  afterEach(() => vi.unstubAllEnvs());

  it('get one base each, on the GPU with the most free memory', async () => {
    vi.stubEnv('CUDA_VISIBLE_DEVICES', '0,1');
    const gpu = (freeBytes: number) => ({ title: 'Card', freeBytes, totalBytes: 80e9 });
    const gpus = [gpu(30e9), gpu(20e9)];
    await scene.startAgent(
      { slots: 3 },
      { freeMemory: () => 0, listGpus: () => Promise.resolve(gpus) },
    );
    await scene.pulled();
    expect(scene.plane.hellos[0]).toMatchObject({
      devices: ['cuda:0 Card', 'cuda:1 Card'],
      memoryBytes: 160e9,
    });
    expect(scene.plane.pulls.at(-1)?.freeMemoryBytes).toBe(30e9);
    const start = async (jobId: string, residentBytes: number): Promise<string> => {
      const files = [scene.plane.blob('base.txt', `weights for ${jobId}`)];
      const base = { id: jobId, nameOrPath: jobId, files, residentBytes };
      scene.plane.assign({ jobId, plan: { steps: 100_000, stepMs: 5 }, base });
      return (await until('its base', () => scene.plane.phase('loading_base', jobId))).message;
    };
    expect(await start('a', 20e9)).toBe('reading weights to cuda:0');
    await until('a to run', () => scene.plane.fact('step', 'a'));
    gpus[0] = gpu(6e9);
    expect(await start('b', 15e9)).toBe('reading weights to cuda:1');
    const base = { id: 'c', nameOrPath: 'c', files: [scene.plane.blob('base.txt', 'c')] };
    scene.plane.assign({ jobId: 'c', plan: { steps: 1 }, base: { ...base, residentBytes: 90e9 } });
    const waiting = await until('c to wait', () => scene.plane.phase('waiting_for_memory', 'c'));
    expect(waiting.message).toContain('needs about 108.3 GB of memory and 20.0 GB are free');
  });

  it('load no base for a run that was canceled during the driver query', async () => {
    vi.stubEnv('CUDA_VISIBLE_DEVICES', '0');
    let answer = () => {};
    let gpusListed = Promise.resolve();
    const gpus = [{ title: 'Card', freeBytes: 30e9, totalBytes: 80e9 }];
    await scene.startAgent({}, { listGpus: () => gpusListed.then(() => gpus) });
    await scene.pulled();
    gpusListed = new Promise((resolve) => (answer = resolve));
    scene.plane.assign({ jobId: 'a', plan: { steps: 1 } });
    await until('its lease', () => scene.plane.heartbeats.at(-1)?.leases.length === 1);
    const lease = { jobId: 'a', attempt: 1 };
    scene.plane.send({
      $case: 'command',
      value: { ...lease, action: Command_Action.ACTION_CANCEL },
    });
    await until('its end', () => scene.plane.fact('stopped', 'a'));
    answer();
    scene.plane.assign({
      jobId: 'b',
      plan: { steps: 1 },
      base: { files: [], id: 'b', nameOrPath: 'b' },
    });
    await until('the next', () => scene.plane.fact('failed', 'b'));
    expect(scene.plane.heartbeats.flatMap(({ residentBases }) => residentBases)).toEqual([]);
  });
});

describe('draining', () => {
  it('saves a checkpoint of every run, returns the jobs and accepts no new ones', async () => {
    const agent = await scene.startAgent();
    await scene.pulled();
    scene.plane.assign({ jobId: 'a', plan: { steps: 100_000, stepMs: 5 } });
    scene.plane.assign({ jobId: 'b', plan: { steps: 100_000, stepMs: 5 } });
    await until('both', () => scene.plane.fact('step', 'a') && scene.plane.fact('step', 'b'));
    const [pid = 0] = scene.trainerPids();
    expect(await agent.drain('SIGTERM')).toBe(true);
    scene.agents = [];
    expect(scene.plane.drainings).toEqual(['SIGTERM']);
    for (const job of ['a', 'b']) {
      expect(scene.plane.fact('stopped', job)?.reason).toBe('drain');
      expect(scene.plane.fact('saved', job)?.step).toBe(scene.plane.fact('stopped', job)?.step);
    }
    expect(isAlive(pid)).toBe(false);
  });

  it('stops at the deadline without the control plane and keeps the spool', async () => {
    const agent = await scene.startAgent({ drainMs: 700 });
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 100_000, stepMs: 5 } });
    await until('steps', () => scene.plane.fact('step'));
    const { port } = scene.plane;
    scene.plane.vanish();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await agent.drain('SIGTERM')).toBe(false);
    scene.agents = [];
    const seen = scene.plane.facts().length;
    await scene.plane.listen(port);
    await scene.startAgent();
    await until('what was spooled', () => scene.plane.facts().length > seen);
    const numbers = scene.plane.facts().map((event) => event.sequence);
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  });
});

describe('files of a previous worker', () => {
  it('do not prevent a start if they cannot be removed, and are removed at the next one', async () => {
    const leftover = join(scene.home, 'runs', 'left');
    mkdirSync(leftover, { recursive: true });
    const stop = writeInto(leftover);
    const agent = await scene.startAgent();
    stop();
    const [name = ''] = readdirSync(join(scene.home, 'not-removed'));
    expect(name).toMatch(/^runs-/);
    expect(scene.lines.filter((line) => line.includes('ENOTEMPTY'))).toHaveLength(1);
    await scene.pulled();
    scene.plane.assign({ plan: { steps: 3 } });
    await until('finished', () => scene.plane.fact('finished'));
    await agent.close();
    await scene.startAgent();
    expect(readdirSync(scene.home)).not.toContain('not-removed');
  });
});
