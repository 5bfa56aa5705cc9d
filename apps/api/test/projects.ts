// Projects with a member and a key for each role, created through the API.
import type { ProjectApiKeyObject, ProjectObject, ProjectUserObject, Role } from '@graft/contracts';
import OpenAI from 'openai';
import type { TestApi } from './fixture.js';

export interface TestMember {
  readonly id: string;
  readonly keyId: string;
  readonly key: string;
}

export interface TestProject extends Readonly<Record<Role, TestMember>> {
  readonly id: string;
}

export async function makeProject(api: TestApi, name: string): Promise<TestProject> {
  const { id } = await api.post<ProjectObject>('/organization/projects', { name });
  const [owner, member, viewer] = await Promise.all(
    (['owner', 'member', 'viewer'] as const).map((role) =>
      addMember(api, id, `${name}'s ${role}`, role),
    ),
  );
  return { id, owner: owner!, member: member!, viewer: viewer! };
}

export async function addMember(
  api: TestApi,
  project: string,
  name: string,
  role: Role,
): Promise<TestMember> {
  const at = `/organization/projects/${project}`;
  const { id } = await api.post<ProjectUserObject>(`${at}/users`, { name, role });
  const made = { name: `key of ${name}`, member_id: id };
  const key = await api.post<ProjectApiKeyObject>(`${at}/api_keys`, made);
  return { id, keyId: key.id, key: key.value ?? '' };
}

/** Returns OpenAI's client for a key, which is also its admin key. */
export const clientOf = (api: TestApi, key: string): OpenAI =>
  new OpenAI({ apiKey: key, adminAPIKey: key, baseURL: `${api.url}/v1`, maxRetries: 0 });

export interface Answer {
  readonly status: number;
  readonly code: string | null;
  readonly text: string;
}

/** Sends a request with a key to any route. A stream is closed as soon as it starts. */
export async function ask(
  api: TestApi,
  key: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer> {
  const leaving = new AbortController();
  const response = await fetch(`${api.url}${path}`, {
    method: method.toUpperCase(),
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    ...(method === 'post' ? { body: JSON.stringify(body ?? {}) } : {}),
    signal: leaving.signal,
  });
  if (response.headers.get('content-type')?.startsWith('text/event-stream')) {
    leaving.abort();
    return { status: response.status, code: null, text: '' };
  }
  const text = await response.text();
  const error = /^\{"error":.*"code":"(\w+)"/s.exec(text)?.[1] ?? null;
  return { status: response.status, code: error, text };
}
