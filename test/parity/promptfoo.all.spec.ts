// Promptfoo with its `openai` provider: a Graft model answers, and grades.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, type TestApi } from '../../apps/api/test/fixture.js';
import { ScriptedWorker, type WorkerRequest } from '../../apps/api/test/scripted-worker.js';
import { cleanEnv } from '../cli/graft.js';

const FOLDER =
  process.env['GRAFT_PROMPTFOO'] ?? join(import.meta.dirname, '../../.cache/promptfoo');
const ready = existsSync(join(FOLDER, 'pins.txt'));
const missing = `${FOLDER} is missing (node test/parity/promptfoo.mjs makes it)`;

let dir: string;
let api: TestApi;
let worker: ScriptedWorker;
let answering: NodeJS.Timeout;

/** Returns words in capitals, except one, and judgements in Promptfoo's format. */
function answerTo({ messages }: WorkerRequest): string {
  const { content = '' } = messages.at(-1) ?? {};
  if (content.includes('<Rubric>') || content.includes('rubric'))
    return '{"reason": "it is in capitals", "pass": true, "score": 1}';
  const word = /In capitals: (\w+)/.exec(content)?.[1] ?? '';
  return word === 'wrong' ? word : word.toUpperCase();
}

interface Results {
  readonly results: {
    readonly stats: {
      readonly successes: number;
      readonly failures: number;
      readonly errors: number;
    };
    readonly results: readonly {
      readonly success: boolean;
      readonly vars: { readonly word: string };
      readonly response: {
        readonly output: string;
        readonly tokenUsage: { readonly total: number };
      };
    }[];
  };
}

describe.skipIf(!ready)(`Promptfoo${ready ? '' : ` (skipped: ${missing})`}`, () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-promptfoo-'));
    api = await startTestApi();
    await importBase(api);
    worker = await new ScriptedWorker(api, { maxChats: 8 }).connect();
    let seen = 0;
    answering = setInterval(() => {
      for (; seen < worker.requests.length; seen++) {
        const question = worker.requests[seen]!;
        worker.sendText(question.id, answerTo(question));
      }
    }, 20);
  });
  afterAll(async () => {
    clearInterval(answering);
    worker?.vanish();
    await api?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('evaluates a model, which also grades', async () => {
    const graft = {
      id: 'openai:chat:tiny',
      config: { apiBaseUrl: `${api.url}/v1`, apiKey: api.apiKey, temperature: 0, max_tokens: 32 },
    };
    const config = {
      description: 'Words in capitals',
      prompts: ['In capitals: {{word}}'],
      providers: [graft],
      defaultTest: { options: { provider: graft } },
      tests: [
        { vars: { word: 'abc' }, assert: [{ type: 'equals', value: 'ABC' }] },
        { vars: { word: 'wrong' }, assert: [{ type: 'equals', value: 'WRONG' }] },
        { vars: { word: 'judged' }, assert: [{ type: 'llm-rubric', value: 'is in capitals' }] },
      ],
    };
    writeFileSync(join(dir, 'promptfooconfig.json'), JSON.stringify(config));
    const out = join(dir, 'out.json');
    const child = spawn(
      join(FOLDER, 'node_modules/.bin/promptfoo'),
      [
        'eval',
        '-c',
        'promptfooconfig.json',
        '-o',
        out,
        '--no-cache',
        '--no-progress-bar',
        '--no-share',
      ],
      {
        cwd: dir,
        env: cleanEnv({
          HOME: dir,
          PROMPTFOO_CONFIG_DIR: join(dir, 'promptfoo'),
          PROMPTFOO_DISABLE_TELEMETRY: '1',
          PROMPTFOO_DISABLE_UPDATE: '1',
          PROMPTFOO_DISABLE_REMOTE_GENERATION: '1',
        }),
      },
    );
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await once(child, 'close');
    expect(existsSync(out), said).toBe(true);
    const { results } = JSON.parse(readFileSync(out, 'utf8')) as Results;
    expect(results.stats).toMatchObject({ successes: 2, failures: 1, errors: 0 });
    const found = results.results.map(({ vars, success, response }) => [
      vars.word,
      success,
      response.output,
      response.tokenUsage.total,
    ]);
    expect(found.sort()).toEqual([
      ['abc', true, 'ABC', 10],
      ['judged', true, 'JUDGED', 10],
      ['wrong', false, 'wrong', 10],
    ]);
    const asked = worker.requests.map(({ max_tokens, temperature }) => [max_tokens, temperature]);
    expect(asked.slice(0, 3)).toEqual(Array(3).fill([32, 0]));
  }, 120_000);
});
