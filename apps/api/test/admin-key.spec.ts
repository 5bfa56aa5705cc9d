import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { startTestApi, type TestApi } from './fixture.js';
import { ask } from './projects.js';

// admin-key: replaces a lost administrator key on the server's machine.

const MAIN = fileURLToPath(new URL('../bundle/main.js', import.meta.url));

async function adminKey(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { GRAFT_HOME: _, GRAFT_DATABASE_URL: __, ...env } = process.env;
  const child = spawn(process.execPath, [MAIN, 'admin-key', ...args], { env });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number];
  return { code, out, err };
}

/** Revokes all keys, creates a new one with `admin-key`, and checks that it works immediately. */
async function recovers(api: TestApi, ...args: string[]): Promise<void> {
  await api.query('UPDATE api_key SET revoked_at = now()');
  expect((await ask(api, api.apiKey, 'get', '/v1/keys')).status).toBe(401);
  const { code, out, err } = await adminKey(...args);
  expect([code, err.includes('no key')]).toEqual([0, false]);
  const key = out.trim();
  expect(out).toBe(`${key}\n`);
  const { status, text } = await ask(api, key, 'get', '/v1/organization/admin_api_keys');
  expect(status).toBe(200);
  expect(JSON.parse(text)).toMatchObject({ data: [{ name: 'recovered', expires_at: null }] });
  const rows = await api.query<object>('SELECT * FROM audit ORDER BY id DESC LIMIT 1');
  expect(rows).toEqual([
    expect.objectContaining({
      action: 'api_key.created',
      target: key.split('-')[2],
      key_id: null,
      address: null,
      detail: { name: 'recovered', scopes: ['admin'] },
    }),
  ]);
  expect(JSON.stringify(rows)).not.toContain(key.split('-')[3]);
}

it('works next to a running API with an external PostgreSQL', async () => {
  const api = await startTestApi();
  try {
    await recovers(api, '--home', api.home, '--database-url', api.databaseUrl);
  } finally {
    await api.close();
  }
});

it('works next to a running API with the embedded PostgreSQL, which keeps running, and while neither runs', async () => {
  const api = await startTestApi({ embedded: true });
  try {
    await recovers(api, '--home', api.home);
    expect(await api.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    let key = '';
    await api.restart(async () => {
      const { code, out } = await adminKey('--home', api.home);
      expect(code).toBe(0);
      key = out.trim();
    });
    expect((await ask(api, key, 'get', '/v1/organization/projects')).status).toBe(200);
  } finally {
    await api.close();
  }
});

it('explains that there is no database, or one of another version', async () => {
  const home = mkdtempSync(join(tmpdir(), 'graft-nothing-'));
  const api = await startTestApi();
  try {
    const none = await adminKey('--home', home);
    expect(none).toMatchObject({ code: 1, out: '' });
    expect(none.err).toContain(`${home} contains no database`);
    await api.query('DELETE FROM migration');
    const other = await adminKey('--home', home, '--database-url', api.databaseUrl);
    expect(other).toMatchObject({ code: 1, out: '' });
    expect(other.err).toContain('the database has the schema of another version');
    expect((await adminKey('too', 'many')).code).toBe(2);
  } finally {
    await api.close();
    rmSync(home, { recursive: true, force: true });
  }
});
