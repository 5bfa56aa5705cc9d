// How much a project may ask of evals: runs that are made at once, runs that wait, and what their items take.
import type OpenAI from 'openai';
import type { APIError } from 'openai';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EVAL } from './eval-changes.js';
import { startTestApi, until, type TestApi } from './fixture.js';

let api: TestApi;
let evals: OpenAI['evals'];
let evalId: string;
beforeAll(async () => {
  api = await startTestApi();
  evals = api.client.evals;
  ({ id: evalId } = await evals.create(EVAL as never));
});
afterAll(() => api?.close());

const answers = (count: number, text = 'A') =>
  Array.from({ length: count }, (_, n) => ({
    item: { word: `w${n}` },
    sample: { output_text: text },
  }));
const create = (content: object[] = answers(1)) =>
  evals.runs.create(evalId, {
    data_source: { type: 'jsonl', source: { type: 'file_content', content } },
  } as never);

it('makes one run of a project at a time, and no more wait than may', async () => {
  const lock = new pg.Client({ connectionString: api.databaseUrl });
  await lock.connect();
  try {
    await lock.query('BEGIN');
    // The run that is being made waits for this row.
    await lock.query('SELECT 1 FROM eval WHERE id = $1 FOR UPDATE', [evalId]);
    const refused: APIError[] = [];
    const asked = Array.from({ length: 18 }, () =>
      create().catch((error: unknown) => void refused.push(error as APIError)),
    );
    await until(() => refused.length === 1);
    expect(refused[0]).toMatchObject({
      status: 503,
      message: expect.stringContaining('too many runs of evals are being made for this project'),
    });
    await lock.query('ROLLBACK');
    expect((await Promise.all(asked)).filter(Boolean)).toHaveLength(17);
    expect(refused).toHaveLength(1);
  } finally {
    await lock.end();
  }
});
