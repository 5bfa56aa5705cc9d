// docs/guides/migrate-from-openai.md: runs each of its commands, in order, against a server with OpenAI's
// paths and a whole Graft with a worker that trains.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFailed } from 'vitest';
import { cleanEnv, CLI } from '../cli/graft.js';
import { OPENAI_KEY, startOpenaiServer, type OpenaiServer } from '../cli/openai-server.js';
import { Installation, until } from '../e2e/installation.js';

const ROOT = join(import.meta.dirname, '../..');
const PAGE = readFileSync(join(ROOT, 'docs/guides/migrate-from-openai.md'), 'utf8');

/** Values for the page's words in capitals. */
const MEANT: Readonly<Record<string, string>> = {
  YOUR_KEY_AT_OPENAI: OPENAI_KEY,
  BASE: 'tiny',
  JOB: 'spam',
  EVAL: "'Words in capitals'",
  ANSWERS_OF_OPENAI: "'run evalrun_First1, recorded answers'",
  RUN_HERE: "'run evalrun_Tuned1'",
};

const PROMPTFOO = `
description: Greetings
prompts: ['Say {{word}}']
providers: [openai:gpt-4o-mini]
tests:
  - vars: { word: abc }
    assert: [{ type: icontains, value: abc }, { type: llm-rubric, value: polite }]
`;

let graft: Installation;
let openai: OpenaiServer;
let dir: string;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  openai = await startOpenaiServer();
  graft = await Installation.start({});
  graft.startWorker('a', '--slots', '2');
  await graft.importTinyBase();
  dir = join(graft.dir, 'walk');
  mkdirSync(join(dir, 'bin'), { recursive: true });
  writeFileSync(join(dir, 'bin/graft'), `#!/bin/sh\nexec "${process.execPath}" "${CLI}" "$@"\n`);
  chmodSync(join(dir, 'bin/graft'), 0o755);
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  writeFileSync(join(dir, 'promptfooconfig.yaml'), PROMPTFOO);
  const { url, apiKey } = graft.where;
  env = cleanEnv({
    GRAFT_URL: url,
    GRAFT_API_KEY: apiKey,
    GRAFT_HOME: join(dir, 'home'),
    OPENAI_BASE_URL: openai.url,
    PATH: `${join(dir, 'bin')}:${process.env['PATH']}`,
  });
}, 120_000);
afterAll(async () => {
  await graft?.stop();
  await openai?.close();
});

/** The page's blocks of one language, each with its lines. */
const blocks = (language: string): string[] =>
  [...PAGE.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))].map(
    ([, text = '']) => text,
  );

async function run(
  program: string,
  args: readonly string[],
): Promise<{ code: number; out: string }> {
  const child = spawn(program, args, { cwd: dir, env });
  let out = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text: Buffer) => (out += text.toString()));
  const [code] = (await once(child, 'close')) as [number];
  return { code, out };
}

it('each command runs, up to the comparison of the new model with OpenAI’s', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const commands = blocks('sh').flatMap((block) => block.trim().split('\n'));
  expect(commands.length).toBeGreaterThanOrEqual(12);
  const said: Record<string, string> = {};
  for (const command of commands) {
    const meant = command.replace(/\b[A-Z_]{3,}\b(?!=)/g, (word) => MEANT[word] ?? word);
    const set = /^export (\w+)=(.*)$/.exec(meant);
    if (set) {
      env[set[1]!] = set[2]!;
      continue;
    }
    // Runs of an eval continue in the background: wait until they have ended.
    if (command.includes('evals compare')) await ended();
    const { code, out } = await run('sh', ['-c', meant]);
    expect(code, `${meant}\n${out}`).toBe(0);
    said[command] = out;
  }
  const dry = said['graft import-openai openai-export --dry-run'];
  expect(dry).toMatch(/job +ftjob-Spam1 "spam" +to draft/);
  expect(dry).toMatch(
    /job +ftjob-Rft1 +not supported\n +method "reinforcement" has no counterpart/,
  );
  const compared = said['graft evals compare EVAL ANSWERS_OF_OPENAI RUN_HERE'];
  expect(compared).toMatch(/^same +2 +\d/m);
  expect(compared).toContain('3 items in both');
  const { data } = await graft.openai.fineTuning.jobs.list();
  expect(data.map(({ metadata }) => metadata?.['imported_from']).sort()).toEqual([
    'ftjob-Prefs1',
    'ftjob-Spam1',
  ]);
}, 400_000);

/** Waits until each run of each eval has ended. */
async function ended(): Promise<void> {
  await until(
    'the runs of evals to end',
    async () => {
      for await (const { id } of graft.openai.evals.list())
        for await (const one of graft.openai.evals.runs.list(id))
          if (one.status !== 'completed') return false;
      return true;
    },
    120_000,
  );
}

it('the program of step 6 uses the trained model', async () => {
  const [program = ''] = blocks('js');
  writeFileSync(join(dir, 'program.mjs'), program);
  // it samples, and a model trained for few steps may end its reply immediately
  const answers: string[] = [];
  while (answers.length < 5 && !answers.some(Boolean)) {
    const { code, out } = await run(process.execPath, ['program.mjs']);
    expect(code, out).toBe(0);
    answers.push(out.trim());
  }
  expect(answers.at(-1)).not.toBe('');
});

it('has no duplicate row', () => {
  const rows = [...PAGE.matchAll(/^\| (.+?) \| .* \| (same|different|absent) \|$/gm)];
  expect(rows.length).toBeGreaterThan(20);
  expect(new Set(rows.map(([, there]) => there)).size).toBe(rows.length);
  expect(spawnSync('grep', ['-c', 'migrate-from-openai.md', join(ROOT, 'README.md')]).status).toBe(
    0,
  );
});
