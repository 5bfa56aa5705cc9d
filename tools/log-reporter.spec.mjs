import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { logOf } from './log-reporter.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
let folder;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'graft-logs-'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(
    join(folder, 'vitest.config.mjs'),
    `export default { test: { pool: 'forks', setupFiles: [${JSON.stringify(join(ROOT, 'tools/test-log.mjs'))}],
       reporters: ['default', ${JSON.stringify(join(ROOT, 'tools/log-reporter.mjs'))}] } };`,
  );
});
afterAll(() => {
  for (const name of ['fine', 'bad']) rmSync(logOf(join(folder, `${name}.spec.mjs`)));
  rmSync(folder, { recursive: true });
});

it('keeps the log of an API out of the output, and names its file when a test failed', () => {
  const api = JSON.stringify(join(ROOT, 'apps/api/dist/log.js'));
  const spec = (name, end) =>
    writeFileSync(
      join(folder, `${name}.spec.mjs`),
      `import { expect, it } from 'vitest'; import { log } from ${api};
       it('a', () => { log.warn('said in ${name}'); ${end} });`,
    );
  spec('fine', '');
  spec('bad', 'expect(1).toBe(2)');
  const env = { ...process.env, GRAFT_LOG_LEVEL: 'info' };
  for (const name of Object.keys(env)) if (name.startsWith('VITEST')) delete env[name];
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', '--root', folder],
    { encoding: 'utf8', env },
  );
  const [fine, bad] = ['fine', 'bad'].map((name) => logOf(join(folder, `${name}.spec.mjs`)));
  expect(stdout + stderr).not.toContain('"msg":"said in');
  expect(stdout).toContain(`failed; the API's log: ${bad}\n`);
  expect(stdout).not.toContain(fine);
  expect(readFileSync(bad, 'utf8')).toContain('said in bad');
  expect(existsSync(fine)).toBe(true);
});
