import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { logOf, logOfProcess } from './log-reporter.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
let folder;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'graft-logs-'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(
    join(folder, 'vitest.config.mjs'),
    `export default { test: { pool: 'forks', maxWorkers: 1, isolate: false, setupFiles: [${JSON.stringify(join(ROOT, 'tools/test-log.mjs'))}],
       reporters: ['default', ${JSON.stringify(join(ROOT, 'tools/log-reporter.mjs'))}] } };`,
  );
});
afterAll(() => {
  for (const name of ['fine', 'bad'])
    rmSync(logOf(join(folder, `${name}.spec.mjs`)), { force: true });
  rmSync(folder, { recursive: true });
});

it('writes API logs to one file per spec, although specs share a process, and prints the path if a test failed', () => {
  const api = JSON.stringify(join(ROOT, 'apps/api/dist/log.js'));
  const spec = (name, work) =>
    writeFileSync(
      join(folder, `${name}.spec.mjs`),
      `import { expect, it } from 'vitest'; import { log } from ${api};
       it('a', () => { ${work} });`,
    );
  spec('fine', "log.warn('logged in fine')");
  spec('bad', "log.warn('logged in bad'); expect(1).toBe(2)");
  spec('quiet', '');
  const gone = logOfProcess(2 ** 30);
  writeFileSync(gone, 'logged once');
  const env = { ...process.env, GRAFT_LOG_LEVEL: 'info' };
  for (const name of Object.keys(env)) if (name.startsWith('VITEST')) delete env[name];
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', '--root', folder],
    { encoding: 'utf8', env },
  );
  const [fine, bad] = ['fine', 'bad'].map((name) => logOf(join(folder, `${name}.spec.mjs`)));
  expect(stdout + stderr).not.toContain('"msg":"logged in');
  expect(stdout).toContain(`failed; the API's log: ${bad}\n`);
  expect(stdout).not.toContain(fine);
  expect(messagesIn(bad)).toEqual(['logged in bad']);
  expect(messagesIn(fine)).toEqual(['logged in fine']);
  expect(existsSync(logOf(join(folder, 'quiet.spec.mjs')))).toBe(false);
  // Logs of ended processes are deleted. This process is running.
  expect(existsSync(gone)).toBe(false);
  expect(existsSync(logOfProcess(process.pid))).toBe(true);
});

const messagesIn = (log) =>
  [...readFileSync(log, 'utf8').matchAll(/"msg":"([^"]*)"/g)].map(([, message]) => message);
