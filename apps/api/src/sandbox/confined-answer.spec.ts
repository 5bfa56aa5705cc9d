import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { missingSandboxFeatures } from './reader-sandbox.js';
import { confinedAnswer } from './confined-answer.js';

// Programs compromised by a file.

const missing = missingSandboxFeatures();
let dir: string;
let folder: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'graft-answer-'));
  folder = join(dir, 'folder');
  mkdirSync(folder);
  writeFileSync(join(folder, 'own'), 'own');
  writeFileSync(join(dir, 'secret'), 'secret');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function ask<T>(program: string): Promise<T> {
  const script = join(dir, 'program.mjs');
  writeFileSync(script, program);
  return confinedAnswer<T>({
    owner: 'proj-default',
    script,
    arguments: [],
    path: folder,
    gone: new AbortController().signal,
    deadlineMs: 60_000,
    kind: 'adapter',
    failure: (reason) => new Error(`failed: ${reason}`),
  });
}

it.skipIf(missing.length > 0)(
  'a program that is given a folder can read its files and no others',
  async () => {
    process.env['GRAFT_SECRET'] = 'secret';
    try {
      const found = await ask(`
import { linkSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
const folder = process.argv[2];
const outcomes = {};
const attempt = (name, work) => {
  try { outcomes[name] = work() ?? 'done'; } catch ({ code }) { outcomes[name] = code; }
};
attempt('its files', () => readdirSync(folder).join());
attempt('one of its files', () => readFileSync(folder + '/own', 'utf8'));
attempt('a file outside the folder', () => readFileSync(folder + '/../secret', 'utf8'));
attempt('the parent folder', () => readdirSync(folder + '/..').join());
attempt('the environment of the API', () => readFileSync('/proc/' + process.ppid + '/environ', 'utf8'));
attempt('a new file', () => writeFileSync(folder + '/new', ''));
attempt('overwriting one', () => writeFileSync(folder + '/own', ''));
attempt('removing one', () => rmSync(folder + '/own'));
attempt('renaming one', () => renameSync(folder + '/own', folder + '/new'));
attempt('a hard link to a file outside', () => linkSync(folder + '/../secret', folder + '/new'));
attempt('a symbolic link to a file outside', () => symlinkSync('../secret', folder + '/new'));
outcomes.environment = Object.keys(process.env).sort().join();
process.stdout.write(JSON.stringify({ value: outcomes }));
`);
      expect(found).toEqual({
        'its files': 'own',
        'one of its files': 'own',
        'a file outside the folder': 'EACCES',
        'the parent folder': 'EACCES',
        'the environment of the API': 'EACCES',
        'a new file': 'EACCES',
        'overwriting one': 'EACCES',
        'removing one': 'EACCES',
        'renaming one': expect.stringMatching(/^(EACCES|EXDEV)$/) as string,
        'a hard link to a file outside': expect.stringMatching(/^(EACCES|EXDEV)$/) as string,
        'a symbolic link to a file outside': 'EACCES',
        environment: 'OPENSSL_CONF,PATH',
      });
    } finally {
      delete process.env['GRAFT_SECRET'];
    }
  },
);

it('a refusal keeps its code and its field', async () => {
  const refused = { code: 'unsupported', message: 'no', param: 'peft.r' };
  const answer = ask(`process.stdout.write('${JSON.stringify({ refused })}');`);
  await expect(answer).rejects.toMatchObject(refused);
});

it('fails if the answer is too long, malformed or missing', async () => {
  const endless = `for (;;) await new Promise((done) => process.stdout.write('x'.repeat(65536), done));`;
  await expect(ask(endless)).rejects.toThrow('failed: the result is larger than 8 MiB');
  await expect(ask(`process.stdout.write('{');`)).rejects.toThrow('failed: it is damaged');
  const others = [
    null,
    [],
    {},
    { refused: null },
    { refused: { code: 'of another kind', message: 'no', param: null } },
    { refused: { code: 'unsupported', message: 'x'.repeat(16_385), param: null } },
    { refused: { code: 'unsupported', message: 'no' } },
  ];
  for (const other of others)
    await expect(
      ask(`process.stdout.write(${JSON.stringify(JSON.stringify(other))});`),
    ).rejects.toThrow('failed: it is damaged');
  await expect(ask('')).rejects.toThrow('failed: it is damaged');
  await expect(ask(`process.abort();`)).rejects.toThrow('failed: it needs too much memory');
});
