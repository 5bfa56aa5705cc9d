import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SCHEMA_VERSION, type Page, type WorkerObject } from '@graft/contracts';
import { importBase, startTestApi, until, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

describe('the body of a request', () => {
  /** Sends a request head that announces 4 MB but only one byte of the body; returns the response. */
  async function headOnly(authorization: string): Promise<string> {
    const { hostname, port } = new URL(api.url);
    const socket: Socket = connect(Number(port), hostname);
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.write(
      `POST /v1/fine_tuning/jobs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: ${authorization}\r\ncontent-length: 4000000\r\n\r\n{`,
    );
    try {
      await until(() => answer.includes('\r\n\r\n') || socket.destroyed, 3000).catch(
        () => undefined,
      );
    } finally {
      socket.destroy();
    }
    return answer;
  }

  it('is not awaited if the key is invalid', async () => {
    expect(await headOnly('Bearer sk-graft-wrong')).toMatch(/^HTTP\/1.1 401 .*connection: close/is);
    expect(await headOnly(`Bearer ${api.apiKey}`)).toBe('');
  });

  it('with invalid JSON and an invalid key returns 401, not 400', async () => {
    const answer = await fetch(`${api.url}/v1/fine_tuning/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer x' },
      body: '{',
    });
    expect(answer.status).toBe(401);
  });
});

it('keeps idle connections open longer than proxies do', async () => {
  const { headers } = await fetch(`${api.url}/healthz`);
  expect(headers.get('keep-alive')).toBe('timeout=75');
});

describe('the list', () => {
  it('of workers has pages, with online workers first', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    const workers: ScriptedWorker[] = [];
    for (const name of names) workers.push(await new ScriptedWorker(api, { name }).connect());
    workers[0]?.send({ $case: 'draining', value: { reason: 'test' } });
    await workers[0]?.heartbeat([]);
    workers[1]?.vanish();
    const states = async (path: string) => {
      const { data } = await api.get<Page<WorkerObject>>(path);
      return data.map(({ name, state }) => `${name} ${state}`);
    };
    const all = ['c online', 'd online', 'e online', 'a draining', 'b offline'];
    await until(async () => (await states('/workers')).join() === all.join());
    const seen: string[] = [];
    for (let after = '', more = true; more;) {
      const page = await api.get<Page<WorkerObject>>(
        `/workers?limit=2${after && `&after=${after}`}`,
      );
      seen.push(...page.data.map(({ name, state }) => `${name} ${state}`));
      after = page.data.at(-1)?.id ?? '';
      more = page.has_more;
    }
    expect(seen).toEqual(all);
    const { data: shown } = await api.get<Page<WorkerObject>>('/workers');
    expect(shown.map((one) => one.schema_version)).toEqual(all.map(() => SCHEMA_VERSION));
    await expect(api.get('/workers?limit=501')).rejects.toThrow('from 1 to 500');
    for (const worker of workers) worker.vanish();
  });

  it('of models has pages if requested', async () => {
    await api.query(
      `INSERT INTO model (id, kind, status, created_at) SELECT 'm' || n, 'base', 'ready', now() - n * interval '1 minute' FROM generate_series(1, 4) n`,
    );
    const ids = async (path: string) => {
      const { data, has_more } = await api.get<Page<{ id: string }>>(path);
      return [data.map(({ id }) => id).join(' '), has_more];
    };
    expect(await ids('/models')).toEqual(['tiny m1 m2 m3 m4', false]);
    expect(await ids('/models?limit=2')).toEqual(['tiny m1', true]);
    expect(await ids('/models?limit=3&after=m1')).toEqual(['m2 m3 m4', false]);
    await expect(api.get('/models?limit=0')).rejects.toThrow('limit: expected an integer');
  });
});

describe('the API documentation', () => {
  it('has a content security policy, and can be disabled', async () => {
    const open = await fetch(`${api.url}/docs/`);
    expect(open.status).toBe(200);
    expect(open.headers.get('content-security-policy')).toContain("default-src 'self'");
    const closed = await startTestApi({ docs: false });
    try {
      for (const path of ['/docs', '/docs/', '/docs-json', '/docs-yaml'])
        expect((await fetch(`${closed.url}${path}`)).status).toBe(404);
    } finally {
      await closed.close();
    }
  });
});
