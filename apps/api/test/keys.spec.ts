import type { ApiKeyObject, Page } from '@graft/contracts';
import OpenAI, { APIError } from 'openai';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startTestApi, type TestApi } from './fixture.js';

// Revoking keys, including the last admin key.

let api: TestApi;
beforeEach(async () => (api = await startTestApi()));
afterEach(() => api.close());

const keys = async () => (await api.get<{ data: ApiKeyObject[] }>('/keys')).data;
const make = (name: string, more: object) => api.post<ApiKeyObject>('/keys', { name, ...more });
/** Revokes a key; returns the response or the error. */
async function revoke(id: string, apiKey = api.apiKey): Promise<unknown> {
  const client = new OpenAI({ apiKey, baseURL: `${api.url}/v1`, maxRetries: 3 });
  try {
    return await client.delete(`/keys/${id}`);
  } catch (error) {
    if (error instanceof APIError)
      return { status: error.status, code: error.code, message: error.message };
    throw error;
  }
}
const REFUSED = {
  status: 409,
  code: 'conflict',
  message: expect.stringContaining('the last key with the admin scope'),
};

it('keeps the only admin key, even if it revokes itself', async () => {
  const [admin] = await keys();
  await make('reader', { scopes: ['jobs:read'] });
  expect(await revoke(admin!.id)).toEqual(REFUSED);
  expect(await keys()).toHaveLength(2);
});

it('revokes an admin key if there is another one, and other keys at any time', async () => {
  const [admin] = await keys();
  const reader = await make('reader', { scopes: ['jobs:read'] });
  expect(await revoke(reader.id)).toMatchObject({ deleted: true });
  const second = await make('second', { scopes: ['jobs:read', 'admin'] });
  expect(await revoke(admin!.id)).toMatchObject({ deleted: true });
  expect(await revoke(second.id, second.secret)).toEqual(REFUSED);
});

it('does not count revoked or expired admin keys', async () => {
  const [admin] = await keys();
  const gone = await make('gone', { scopes: ['admin'] });
  expect(await revoke(gone.id)).toMatchObject({ deleted: true });
  const old = await make('old', { scopes: ['admin'] });
  await api.query(`UPDATE api_key SET expires_at = now() - interval '1 second' WHERE id = $1`, [
    old.id,
  ]);
  expect(await revoke(admin!.id)).toEqual(REFUSED);
  expect(await revoke(old.id)).toMatchObject({ deleted: true });
});

it('keeps one of several that are revoked at the same time', async () => {
  const made = await Promise.all(
    [1, 2, 3, 4, 5].map((n) => make(`admin ${n}`, { scopes: ['admin'] })),
  );
  const [first] = (await keys()).filter(({ name }) => name === 'admin');
  const all = [...made.map(({ id }) => id), first!.id];
  const done = await Promise.all(all.map((id, n) => revoke(id, made[n]?.secret ?? api.apiKey)));
  expect(done.filter((one) => (one as { deleted?: true }).deleted)).toHaveLength(5);
  const left = await api.query<{ id: string }>(
    `SELECT id FROM api_key WHERE revoked_at IS NULL AND scopes @> '["admin"]'`,
  );
  expect(left).toHaveLength(1);
});

it('keeps one admin key if the projects of all admin keys are archived at the same time', async () => {
  const [first] = (await keys()).filter(({ name }) => name === 'admin');
  const projects = await Promise.all(
    [1, 2, 3, 4].map(async (n) => {
      const { id } = await api.post<{ id: string }>('/organization/projects', { name: `p${n}` });
      const at = `/organization/projects/${id}`;
      const key = { name: `admin ${n}`, scopes: ['admin'] };
      return { at, key: (await api.post<{ value: string }>(`${at}/api_keys`, key)).value };
    }),
  );
  expect(await revoke(first!.id)).toMatchObject({ deleted: true });
  const statuses = await Promise.all(
    projects.map(async ({ at, key }) => {
      const headers = { authorization: `Bearer ${key}` };
      return (await fetch(`${api.url}/v1${at}/archive`, { method: 'POST', headers })).status;
    }),
  );
  expect(statuses.sort()).toEqual([200, 200, 200, 409]);
});

it('keys and join tokens have pages', async () => {
  for (const path of ['/keys', '/join_tokens']) {
    for (const name of ['one', 'two', 'three']) await api.post(path, { name });
    const { data: all } = await api.get<Page<{ id: string }>>(path);
    const seen: string[] = [];
    for (let after = '', more = true; more;) {
      const page = await api.get<Page<{ id: string }>>(`${path}?limit=2&after=${after}`);
      expect(page.data.length).toBeLessThanOrEqual(2);
      seen.push(...page.data.map(({ id }) => id));
      after = page.last_id ?? '';
      more = page.has_more;
    }
    expect(seen).toEqual(all.map(({ id }) => id));
    for (const query of ['limit=0', 'limit=10001', 'limit=x', 'after=none'])
      await expect(api.get(`${path}?${query}`)).rejects.toThrow(/400/);
  }
});
