// OpenAI's SDK for Python. Skipped with a message if Python or the package registry is not available.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { pythonWith } from '../python.js';
import { preferences, writeChats } from '../tiny-base.js';
import { Installation } from './installation.js';

const VERSION = '3.63.0';

const python = pythonWith(`openai-python-${VERSION}`, [`openai==${VERSION}`]);
let graft: Installation;
/** Requests of all programs. */
const sent: string[] = [];

describe.skipIf(python === null)('OpenAI’s SDK for Python', () => {
  beforeAll(async () => {
    graft = await Installation.start({ outboundNetworks: ['127.0.0.0/8'] });
    graft.startWorker('a');
    await graft.importTinyBase();
  }, 120_000);
  afterAll(() => graft?.stop());

  /** Runs a program with the base, chats and preferences. Returns what it prints. */
  const run = (script: string): object => {
    const { url, apiKey } = graft.where;
    const chats = writeChats(join(graft.dir, 'chats.jsonl'), 12);
    const pairs = join(graft.dir, 'preferences.jsonl');
    writeFileSync(pairs, preferences(12));
    const { stdout, stderr, status } = spawnSync(
      python!,
      [join(import.meta.dirname, script), 'tiny', chats, pairs],
      {
        encoding: 'utf8',
        env: {
          PATH: process.env['PATH'],
          // The methods of evals warn that OpenAI has ended them.
          PYTHONWARNINGS: 'ignore::DeprecationWarning',
          PYTHONDONTWRITEBYTECODE: '1',
          OPENAI_BASE_URL: `${url}/v1`,
          OPENAI_API_KEY: apiKey,
        },
        timeout: 110_000,
      },
    );
    expect(status, stderr).toBe(0);
    const { seen, requests, problems } = JSON.parse(stdout) as Record<string, string[]>;
    sent.push(...requests!);
    expect(problems).toEqual([]);
    return seen!;
  };

  it('supports files, fine-tuning, chats, responses, embeddings, batches and evals', () => {
    onTestFailed(() => console.error(graft.tails()));
    expect(run('openai_sdk.py')).toEqual({
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
      listed_batches: 5,
      run: [2, 1, 1, 0],
      items: ['pass', 'fail'],
      cancelled: true,
      given: 'a',
      validated: true,
      deleted: true,
    });
  });

  it('accepts the responses of all other methods by its types, strictly', () => {
    onTestFailed(() => console.error(graft.tails()));
    expect(run('openai_types.py')).toEqual({
      dpo: [true, 0.2],
      hyperparameters: [1, 2],
      jobs: ['fine_tuning.job'],
      results: 'fine-tune-results',
      grader: 'string_check',
      choices: [4, true],
      chat: 2,
      response: 1,
      runs: 3,
      secret: 'whsec_',
      audited: true,
      deleted: true,
      validated: true,
    });
    const page = readFileSync(join(import.meta.dirname, '../../docs/reference/openai.md'), 'utf8');
    const routes = [...page.matchAll(/^\| `[\w.]+` \| yes \| `([^`]+)`/gm)].map(
      ([, route]) => route!,
    );
    expect(routes.length).toBeGreaterThan(70);
    const isSent = (route: string): boolean => {
      const pattern = new RegExp(`^${route.replaceAll('{}', '[^/]+')}$`);
      return sent.some((one) => pattern.test(one));
    };
    // test/parity/whisper.all.spec.ts transcribes.
    const untested = [...new Set(routes)].filter((route) => !isSent(route));
    expect(untested).toEqual(['POST /v1/audio/transcriptions']);
  });
});
