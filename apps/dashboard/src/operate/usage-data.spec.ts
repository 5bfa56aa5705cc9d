import type { InferenceUsagePage, TrainingUsagePage } from '@graft/contracts';
import { expect, it } from 'vitest';
import { usageCsv, usageOf } from './usage-data.js';

const own = { user_id: null, api_key_id: null };
const training = (start: number, project_id: string, seconds: number) =>
  ({
    object: 'bucket',
    start_time: start,
    end_time: start + 3600,
    results: [
      {
        object: 'graft.usage.training.result',
        training_seconds: seconds,
        trained_tokens: 10 * seconds,
        jobs_created: 1,
        jobs_succeeded: 0,
        jobs_failed: 1,
        jobs_cancelled: 0,
        project_id,
        model: null,
      },
    ],
  }) as TrainingUsagePage['data'][number];
const inference = (start: number, project_id: string, tokens: number) =>
  ({
    object: 'bucket',
    start_time: start,
    end_time: start + 3600,
    results: [
      {
        object: 'graft.usage.inference.result',
        input_tokens: tokens,
        output_tokens: 1,
        num_model_requests: 2,
        project_id,
        model: null,
        ...own,
      },
    ],
  }) as InferenceUsagePage['data'][number];

it('joins training and requests by bucket and project, and adds them up', () => {
  const usage = usageOf(
    [training(0, 'a', 5), training(3600, 'a', 1), training(3600, 'b', 60)],
    [inference(3600, 'a', 7)],
    'project_id',
  );
  expect(usage.starts).toEqual([0, 3600]);
  expect(usage.totals.map(([group]) => group)).toEqual(['b', 'a']);
  expect(usage.totals[1]?.[1]).toEqual({
    training_seconds: 6,
    trained_tokens: 60,
    jobs: 2,
    jobs_failed: 2,
    model_tokens: 8,
    requests: 2,
  });
  expect(usage.rows).toHaveLength(3);
});

it('writes CSV that spreadsheets read as text and numbers', () => {
  const usage = usageOf([training(0, 'a', 5.5)], [], 'project_id');
  const names: Readonly<Record<string, string>> = { a: '=HYPERLINK("x")' };
  expect(usageCsv(usage, 'project_id', (group) => names[group] ?? group)).toBe(
    'start,project,training_seconds,trained_tokens,jobs,model_tokens,jobs_failed,requests\n' +
      `1970-01-01T00:00:00.000Z,"'=HYPERLINK(""x"")",5.5,55,1,0,1,0\n`,
  );
});
