// OpenAI's SDK for Python, in a virtual environment that is created once in .cache. Skipped with a message if
// Python or the package registry is not available.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { writeChats } from '../tiny-base.js';
import { Installation } from './installation.js';

const VERSION = '3.57.0';
const ROOT = join(import.meta.dirname, '../..');

/** Path of the Python interpreter with the SDK, or null. */
function interpreter(): string | null {
  const folder = join(ROOT, '.cache', `openai-python-${VERSION}`);
  const python = join(folder, 'bin/python');
  if (existsSync(python)) return python;
  // Created under a temporary name and then renamed, so that an existing folder is complete. The interpreter
  // finds its packages relative to its own path.
  const begun = `${folder}.${process.pid}`;
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  try {
    execFileSync('python3', ['-m', 'venv', begun], { stdio: 'pipe' });
    const pip = [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
      `openai==${VERSION}`,
    ];
    execFileSync(join(begun, 'bin/python'), pip, { stdio: 'pipe', timeout: 120_000 });
    renameSync(begun, folder);
    return python;
  } catch (error) {
    rmSync(begun, { recursive: true, force: true });
    console.warn(
      `skipped: cannot install openai for Python: ${(error as Error).message.split('\n')[0]}`,
    );
    return null;
  }
}

const python = interpreter();
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
