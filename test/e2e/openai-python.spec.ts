// OpenAI's SDK for Python. Skipped with a message if Python or the package registry is not available.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { pythonWith } from '../python.js';
import { writeChats } from '../tiny-base.js';
import { Installation } from './installation.js';

const VERSION = '3.57.0';

const python = pythonWith(`openai-python-${VERSION}`, [`openai==${VERSION}`]);
let graft: Installation;

describe.skipIf(python === null)('OpenAI’s SDK for Python', () => {
  beforeAll(async () => {
    graft = await Installation.start({});
    graft.startWorker('a');
    await graft.importTinyBase();
  }, 120_000);
  afterAll(() => graft?.stop());

  it('supports files, fine-tuning, chats, responses, embeddings, batches and evals', () => {
    onTestFailed(() => console.error(graft.tails()));
    const { url, apiKey } = graft.where;
    const chats = writeChats(join(graft.dir, 'chats.jsonl'), 12);
    const { stdout, stderr, status } = spawnSync(
      python!,
      [join(import.meta.dirname, 'openai_sdk.py'), 'tiny', chats],
      {
        encoding: 'utf8',
        env: { PATH: process.env['PATH'], OPENAI_BASE_URL: `${url}/v1`, OPENAI_API_KEY: apiKey },
        timeout: 110_000,
      },
    );
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      version: VERSION,
      file: 'processed',
      content_is_kept: true,
      listed: true,
      job: 'succeeded',
      events: 'The job has successfully completed',
      checkpoints: 1,
      reward: 1,
      not_found: [404, 'fine_tune_id'],
      chat: ['str', true],
      response: [true, true, 'response.created', true],
      stored: [true, ['user', 'assistant', 'user'], 'response_id'],
      truncated: ['auto', true, null],
      background: ['queued', true, true, true, true, 'response_id'],
      embeddings: [2, 1],
      batches: Array(4).fill([['0', '1', '2'], 3, 'wrong', 400, true]) as unknown,
      listed_batches: 4,
      run: [2, 1, 1, 0],
      items: ['pass', 'fail'],
      cancelled: true,
      given: 'a',
      validated: true,
      deleted: true,
    });
  });
});
