import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { auditQuery, AUDIT_ACTIONS, details } from './audit-log.js';

const NONE = { type: '', actor: '', resource: '', from: '', to: '' };

it('offers exactly the actions that the API records', () => {
  const api = join(import.meta.dirname, '..', '..', '..', 'api', 'src');
  const written = readdirSync(api, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.spec.ts'))
    .map((path) => readFileSync(join(api, path), 'utf8'))
    .filter((source) => /audit|action: '/i.test(source))
    .flatMap((source) => [
      ...source.matchAll(
        /'((?:api_key|file|job|join_token|model|pool|project|upload|user|worker)\.[a-z_]+ed)'/g,
      ),
    ])
    .map(([, action]) => action);
  expect([...AUDIT_ACTIONS].sort()).toEqual([...new Set(written)].sort());
});

it('filters by ids or names, and by whole local days', () => {
  const query = (part: object) => Object.fromEntries(auditQuery({ ...NONE, ...part }, 'proj-a'));
  expect(query({})).toEqual({ limit: '50', 'project_ids[]': 'proj-a' });
  expect(query({ actor: 'ada@example.org' })).toHaveProperty('actor_emails[]');
  expect(query({ actor: 'administrato' })).toHaveProperty('actor_emails[]');
  for (const actor of ['member-x', '1b9RCBrJSgbt'])
    expect(query({ actor })).toMatchObject({ 'actor_ids[]': actor });
  const day = query({ from: '2026-03-04', to: '2026-03-04' });
  expect(day['effective_at[gte]']).toBe(String(new Date(2026, 2, 4).getTime() / 1000));
  expect(day['effective_at[lt]']).toBe(String(new Date(2026, 2, 5).getTime() / 1000));
  expect(query({ from: '2026-0' })).not.toHaveProperty('effective_at[gte]');
});

it('formats details', () => {
  expect(details({ name: 'ada', limits: { chats: 2 }, scopes: ['a', 'b'], pool: null })).toBe(
    'name: ada, limits: (chats: 2), scopes: a b, pool: none',
  );
  expect(details({})).toBe('–');
});
