import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { evaluated, saved, ScriptedWorker, started, step } from './scripted-worker.js';

describe('steps that are repeated after a resume', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi({ retryBackoffMs: 50 });
    await importBase(api);
  });
  afterAll(() => api?.close());

  it('are listed once with their first values, like evaluations, with one warning if a repeat differs', async () => {
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
    });
    const worker = await new ScriptedWorker(api).connect();
    const crash = {
      kind: 'failed',
      payload: { code: 'crash', message: 'signal 9', param: '', retryable: true, stderr_tail: '' },
    } as const;
    const first = await worker.nextAssignment();
    const state = await worker.put(first, 'state', `${id} at 2`);
    await worker.report(first, started(0, 6), step(1), step(2), evaluated(2, 3), saved(2, [state]));
    await worker.report(first, step(3), step(4), evaluated(4, 2.5), crash);
    const second = await worker.nextAssignment();
    expect(second.checkpointStep).toBe(2);
    await worker.report(second, started(2, 6), step(3), step(4, 0.25), evaluated(4, 2.5));
    // The next attempt resumes before the end of this one, and gets further than both.
    await worker.report(second, crash);
    const third = await worker.nextAssignment();
    await worker.report(third, started(2, 6), step(3, 0.5), step(4, 0.25), evaluated(4, 2.5));
    await worker.report(third, step(5), step(6), evaluated(6, 2), evaluated(6, 2, true));

    const { data } = await api.get<{
      data: {
        type: string;
        level: string;
        message: string;
        data: { step: number; train_loss?: number; valid_loss?: number; full_valid_loss?: number };
      }[];
    }>(`/fine_tuning/jobs/${id}/events?limit=100`);
    const metrics = data.reverse().filter(({ type }) => type === 'metrics');
    const listed = (key: 'train_loss' | 'valid_loss' | 'full_valid_loss') =>
      metrics.filter((each) => each.data[key] !== undefined).map((each) => each.data.step);
    expect(listed('train_loss')).toEqual([1, 2, 3, 4, 5, 6]);
    expect(metrics.find((each) => each.data.step === 4)?.data.train_loss).toBe(4 - 0.4);
    expect(listed('valid_loss')).toEqual([2, 4, 6, 6]);
    expect(listed('full_valid_loss')).toEqual([6]);
    const warnings = data.filter(({ message }) =>
      message.includes('had a different loss when it was repeated'),
    );
    expect(warnings).toMatchObject([
      { level: 'warn', message: expect.stringContaining('Step 4'), data: { step: 4 } },
    ]);
    const [row] = await api.query<{ replay_mismatches: number }>(
      'SELECT replay_mismatches FROM job WHERE id = $1',
      [id],
    );
    expect(row?.replay_mismatches).toBe(3);
    // The curve has the values of the newest attempt.
    const curve = await api.get<{ steps: number[]; series: { loss: number[] } }>(
      `/fine_tuning/jobs/${id}/metrics`,
    );
    expect(curve.steps).toEqual([1, 2, 3, 4, 5, 6]);
    expect(curve.series.loss.slice(2, 4)).toEqual([0.5, 0.25]);
    worker.vanish();
  });
});
