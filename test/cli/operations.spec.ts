// graft merge, convert and combine, with a scripted worker.
import type { JobObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';
import { graft, type Done } from './graft.js';

let api: TestApi;
let model = '';
const run = (...args: string[]): Promise<Done> =>
  graft(api.home, args, '', { GRAFT_URL: api.url, GRAFT_API_KEY: api.apiKey });

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  const worker = await new ScriptedWorker(api).connect();
  const body = { model: 'tiny', training_file: await uploadChats(api) };
  const { id } = await api.post<JobObject>('/fine_tuning/jobs', body);
  const lease = await worker.nextAssignment();
  await worker.report(lease, started(0, 1), step(1));
  await worker.finish(lease, 1);
  worker.vanish();
  model = (await api.get<JobObject>(`/fine_tuning/jobs/${id}`)).fine_tuned_model ?? '';
});
afterAll(() => api?.close());

const operationOf = ({ out }: Done): unknown => (JSON.parse(out) as JobObject).graft.operation;

it('each creates a job with its options', async () => {
  const merged = await run('merge', model, '--suffix', 'whole');
  expect(merged).toMatchObject({ code: 0 });
  expect(merged.out).toMatch(/^ftjob-\w+ queued: Waiting for a worker/);
  expect(operationOf(await run('--json', 'convert', model, '-r', '4'))).toEqual({
    type: 'convert',
    rank: 4,
    adapters: [model],
  });
  const nowhere = await run('merge', model, '--pool', 'nowhere');
  expect(nowhere.err).toContain('warning: No worker has ever joined pool nowhere: ');
  const [ties] = [['-w', '0.7,-0.3', '-t', 'ties', '--density', '0.5', '--sign', 'frequency']];
  expect(operationOf(await run('--json', 'combine', model, model, ...ties))).toEqual({
    type: 'combine',
    adapters: [model, model],
    weights: [0.7, -0.3],
    combination_type: 'ties',
    density: 0.5,
    majority_sign_method: 'frequency',
  });
  const equal = operationOf(await run('--json', 'combine', model, model));
  expect(equal).toMatchObject({ weights: [0.5, 0.5], combination_type: 'svd' });
  const card = await run('jobs', 'whole');
  expect(card.out).toContain(model);
  expect(card.out).toMatch(/Operation +Merge\n +From +ft:tiny:/);
  expect(card.out).toMatch(/Time +took 0 s, waited/);
  expect(card.out).not.toMatch(/Steps|Method|Loss|trained/);
  // The age follows directly, because there are no steps.
  expect((await run('jobs', '-s', 'whole')).out).toMatch(/queued +Merge +ft:tiny:\S+ +\d+ \w+\n/);
  const kinds = await run('jobs', '--kind', 'combine');
  expect(kinds.out.match(/Combination of 2 adapters \(\w+\)/g)?.sort()).toEqual([
    'Combination of 2 adapters (svd)',
    'Combination of 2 adapters (ties)',
  ]);
  expect(kinds.out).not.toMatch(/Merge|LoRA r/);
  expect((await run('jobs', '--kind', 'training')).out).not.toMatch(/Merge|Co(mb|nv)|Export/);
  expect((await run('jobs', '--kind', 'export')).out).toBe('no matching jobs\n');
});

it('reports invalid options', async () => {
  expect((await run('convert', model)).err).toContain('set rank or energy');
  expect(await run('combine', model, '-w', 'half')).toMatchObject({ code: 2 });
});
