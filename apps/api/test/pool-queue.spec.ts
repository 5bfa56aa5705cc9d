import type { JobObject, PoolQueueObject, PoolWhatIfObject, WorkerObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { makeProject, ask } from './projects.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';

const POOL = 'lane';

describe('the queue of a pool', () => {
  let api: TestApi;
  let file: string;
  const workers: ScriptedWorker[] = [];

  beforeAll(async () => {
    api = await startTestApi({ leaseMs: 60_000 });
    await importBase(api);
    file = await uploadChats(api);
  });
  afterAll(async () => {
    for (const worker of workers) worker.vanish();
    await api?.close();
  });

  const create = (suffix: string, priority = 100): Promise<JobObject> =>
    api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      suffix,
      graft: { pool: POOL, priority },
    });
  const queue = () => api.get<PoolQueueObject>(`/pools/${POOL}/queue`);
  const whatIf = (query: string) => api.get<PoolWhatIfObject>(`/pools/${POOL}/what_if?${query}`);
  const names = (list: readonly { readonly name: string | null }[]) => list.map(({ name }) => name);

  /** Connects a worker with one slot that starts a job and trains two of its steps. */
  async function occupy(name: string): Promise<ScriptedWorker> {
    const worker = await new ScriptedWorker(api, { name, pool: POOL, slots: 1 }).connect();
    workers.push(worker);
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(0, 100), step(1), step(2));
    return worker;
  }

  it('lists running and waiting jobs in order, and the consequences of actions', async () => {
    const [a, b] = [await create('a'), await create('b')];
    await occupy('one');
    await occupy('two');
    const [c, d] = [await create('c'), await create('d')];
    // Speeds are known after the first steps, and the forecast is cached for two seconds.
    await until(async () => {
      const { running, waiting } = await queue();
      return running.length === 2 && waiting.length === 2;
    }, 30_000);
    const found = await queue();
    expect(names(found.running).sort()).toEqual(['a', 'b']);
    expect(found.running.map(({ id }) => id).sort()).toEqual([a.id, b.id].sort());
    expect(names(found.waiting)).toEqual(['c', 'd']);
    expect(found.waiting[0]).toMatchObject({ id: c.id, position: 1, priority: 100, model: 'tiny' });
    expect(found.waiting[0]?.reason).toMatch(/waiting/i);
    expect(found).toMatchObject({ object: 'graft.pool_queue', id: POOL, queued: 2 });

    const front = await whatIf(`front=${d.id}`);
    expect(front).toMatchObject({ action: 'front', target: d.id, priority: 99, position: 1 });
    expect(names(front.changes)[0]).toBe('d');
    expect((await queue()).waiting.map(({ name }) => name)).toEqual(['c', 'd']);

    const listed = await api.get<{ data: WorkerObject[] }>('/workers');
    const one = listed.data.find(({ name }) => name === 'one')!;
    const drained = await whatIf(`drain=${one.id}`);
    const moved = drained.changes.filter(({ was_running: was }) => was);
    expect(moved).toHaveLength(1);
    expect(moved[0]).toMatchObject({ start_before: null, priority: 100 });
    expect(drained).toMatchObject({ slots_left: 1, priority: null });
    const cordoned = await whatIf(`cordon=${one.id}`);
    expect(cordoned.changes.every(({ was_running: was }) => !was)).toBe(true);

    await api.post(`/fine_tuning/jobs/${d.id}`, { graft: { priority: front.priority } });
    await until(async () => names((await queue()).waiting).join() === 'd,c', 30_000);
  });

  it('shows the generated name of a job without a suffix', async () => {
    const job = await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      graft: { pool: POOL },
    });
    expect(job.graft.name).not.toBe(job.id);
    await until(async () => names((await queue()).waiting).includes(job.graft.name), 30_000);
  });

  it('hides the jobs of other projects', async () => {
    const { owner } = await makeProject(api, 'lane-other');
    const { status, text } = await ask(api, owner.key, 'get', `/v1/pools/${POOL}/queue`);
    expect(status).toBe(200);
    const { running, waiting } = JSON.parse(text) as PoolQueueObject;
    expect([...running, ...waiting]).not.toHaveLength(0);
    for (const { id, name, model, project } of [...running, ...waiting])
      expect([id, name, model, project]).toEqual([null, null, null, null]);
    expect(text).not.toContain('ftjob-');
  });

  it('rejects unknown pools, jobs and workers, and several actions', async () => {
    const statusOf = async (path: string) =>
      (await ask(api, api.apiKey, 'get', `/v1/pools/${path}`)).status;
    expect(await statusOf('none/queue')).toBe(404);
    expect(await statusOf(`${POOL}/what_if?front=ftjob-none`)).toBe(404);
    expect(await statusOf(`${POOL}/what_if?drain=worker-none`)).toBe(404);
    expect(await statusOf(`${POOL}/what_if`)).toBe(400);
    expect(await statusOf(`${POOL}/what_if?front=a&drain=b`)).toBe(400);
  });
});
