import { mkdirSync, writeFileSync, statSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { at, PUBLIC, ROUTES } from './routes.js';

let api: TestApi;
let dashboardDir: string;
const LARGE = 'export const words = "a page is mostly the same words again and again";\n'.repeat(
  500,
);

beforeAll(async () => {
  dashboardDir = join(process.env['TMPDIR'] ?? '/tmp', `graft-dashboard-${process.pid}`);
  mkdirSync(join(dashboardDir, 'assets'), { recursive: true });
  writeFileSync(join(dashboardDir, 'index.html'), '<!doctype html><title>Graft</title>');
  writeFileSync(join(dashboardDir, 'assets', 'app.js'), 'export {};');
  writeFileSync(join(dashboardDir, 'assets', 'large.js'), LARGE);
  writeFileSync(join(dashboardDir, 'assets', 'packed.js'), LARGE);
  writeFileSync(join(dashboardDir, 'assets', 'packed.js.br'), brotliCompressSync(LARGE));
  api = await startTestApi({ dashboardDir });
  await importBase(api);
});
afterAll(() => api?.close());

const keyWith = async (...scopes: string[]): Promise<{ authorization: string; id: string }> => {
  const key = await api.post<{ id: string; secret: string }>('/keys', { name: 'test', scopes });
  return { authorization: `Bearer ${key.secret}`, id: key.id };
};

const isErrorBody = (body: unknown): void =>
  expect(body).toEqual({
    error: {
      message: expect.any(String),
      type: expect.any(String),
      param: expect.toBeOneOf([null, expect.any(String)]),
      code: expect.any(String),
    },
  });

describe('access', () => {
  it('serves exactly the routes in ROUTES and PUBLIC', async () => {
    const { body } = await request(api.url).get('/docs-json');
    const served = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    const listed = [
      ...ROUTES.map(([method, path]) => `${method} ${path}`),
      ...PUBLIC.map((path) => `get ${path}`),
    ];
    expect(served.sort()).toEqual(listed.sort());
  });

  it('requires a key on every route, with the standard error body', async () => {
    for (const [method, path] of ROUTES) {
      const url = at(path);
      for (const headers of [
        {},
        { authorization: 'Bearer sk-graft-wrong' },
        { authorization: 'Basic eDp5' },
      ]) {
        const answer = await request(api.url)[method](url).set(headers);
        expect([method, url, answer.status]).toEqual([method, url, 401]);
        isErrorBody(answer.body);
        expect(answer.headers['x-request-id']).toMatch(/^req_/);
      }
    }
    for (const path of PUBLIC) expect((await request(api.url).get(path)).status).toBe(200);
  });

  it('requires the scope of each route', async () => {
    const all = [
      'jobs:read',
      'jobs:write',
      'files:read',
      'files:write',
      'models:read',
      'models:write',
      'project:admin',
      'metrics:read',
    ];
    for (const [method, path, scope] of ROUTES) {
      if (scope === null) continue;
      const enough = scope.split(' or ');
      const key = await keyWith(...all.filter((other) => !enough.includes(other)));
      const url = at(path);
      const answer = await request(api.url)[method](url).set('authorization', key.authorization);
      expect([method, path, answer.status, answer.body.error?.code]).toEqual([
        method,
        path,
        403,
        'insufficient_scope',
      ]);
    }
  });

  it('returns the scopes of any key', async () => {
    const key = await keyWith('files:read');
    const { body } = await request(api.url)
      .get('/v1/keys/me')
      .set('authorization', key.authorization)
      .expect(200);
    expect(body).toMatchObject({ object: 'graft.api_key', id: key.id, scopes: ['files:read'] });
    expect(body).not.toHaveProperty('secret');
  });

  it('rejects a revoked or expired key immediately, and shows a secret only once', async () => {
    const key = await keyWith('models:read');
    const get = () => request(api.url).get('/v1/models').set('authorization', key.authorization);
    expect((await get()).status).toBe(200);
    await request(api.url).delete(`/v1/keys/${key.id}`).set(api.headers).expect(200);
    expect((await get()).status).toBe(401);
    const expired = await api.post<{ secret: string }>('/keys', {
      name: 'old',
      scopes: ['models:read'],
      expires_at: 1_700_000_000,
    });
    expect(
      (await request(api.url).get('/v1/models').set('authorization', `Bearer ${expired.secret}`))
        .status,
    ).toBe(401);
    const listed = JSON.stringify(await api.get('/keys'));
    expect(listed).not.toContain('secret');
    const rows = await api.query<object>('SELECT * FROM api_key');
    expect(JSON.stringify(rows)).not.toContain(key.authorization.slice(7));
    expect(JSON.stringify(rows)).not.toContain(api.apiKey);
  });

  it.each(['/v1/keys', '/v1/join_tokens'])(
    '%s rejects an expiry beyond the largest date',
    async (path) => {
      const scopes = path === '/v1/keys' ? { scopes: ['models:read'] } : {};
      const { status, body } = await request(api.url)
        .post(path)
        .set(api.headers)
        .send({ name: 'late', ...scopes, expires_at: Number.MAX_SAFE_INTEGER - 1 });
      expect([status, body.error]).toMatchObject([
        400,
        { code: 'invalid_value', param: 'expires_at' },
      ]);
    },
  );

  it('hides the files and jobs of one project from another', async () => {
    const file = await uploadChats(api);
    const job = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      graft: { pool: 'unserved' },
    });
    await api.query(`INSERT INTO project (id, name) VALUES ('proj-other', 'other')`);
    const other = await keyWith(
      'files:read',
      'files:write',
      'jobs:read',
      'jobs:write',
      'models:read',
    );
    await api.query(`UPDATE api_key SET project_id = 'proj-other' WHERE id = $1`, [other.id]);
    const as = { authorization: other.authorization };
    const paths: [method: 'get' | 'post' | 'delete', path: string][] = [
      ['get', `/v1/files/${file}`],
      ['get', `/v1/files/${file}/content`],
      ['delete', `/v1/files/${file}`],
      ...['', '/events', '/logs', '/checkpoints', '/metrics', '/stream'].map(
        (part) => ['get', `/v1/fine_tuning/jobs/${job.id}${part}`] as ['get', string],
      ),
      ...['cancel', 'pause', 'resume'].map(
        (verb) => ['post', `/v1/fine_tuning/jobs/${job.id}/${verb}`] as ['post', string],
      ),
    ];
    for (const [method, path] of paths) {
      const answer = await request(api.url)[method](path).set(as);
      expect([path, answer.status]).toEqual([path, 404]);
    }
    const use = await request(api.url)
      .post('/v1/fine_tuning/jobs')
      .set(as)
      .send({ model: 'tiny', training_file: file });
    expect(use.body.error).toMatchObject({ code: 'file_not_found', param: 'training_file' });
    expect((await request(api.url).get('/v1/files').set(as)).body.data).toEqual([]);
    expect((await request(api.url).get('/v1/fine_tuning/jobs').set(as)).body.data).toEqual([]);
    expect(await api.get(`/fine_tuning/jobs/${job.id}`)).toMatchObject({ status: 'queued' });
  });

  it('returns framework errors in the standard error body', async () => {
    const post = () =>
      request(api.url)
        .post('/v1/fine_tuning/jobs')
        .set(api.headers)
        .set('content-type', 'application/json');
    const cases = [
      [await post().send('{"a":'), 400, 'invalid_json'],
      [await post().send(`{"metadata":"${'x'.repeat(5_000_000)}"}`), 413, 'request_too_large'],
      [await post().send('[]'), 400, 'invalid_value'],
      [
        await post()
          .set('content-type', 'application/json; charset=utf-16le')
          .send(Buffer.from('{"model":"tiny"}', 'utf16le').toString('latin1')),
        400,
        'invalid_json',
      ],
      [
        await post().send('{"__proto__":{"x":1},"model":"tiny"}'),
        400,
        'missing_required_parameter',
      ],
      [await request(api.url).get('/v1/none').set(api.headers), 404, 'not_found'],
      [await request(api.url).put('/v1/files').set(api.headers), 404, 'not_found'],
      [await request(api.url).get('/v1/files?limit=0').set(api.headers), 400, 'invalid_value'],
      [
        await request(api.url).get('/v1/fine_tuning/jobs/x%00').set(api.headers),
        400,
        'invalid_value',
      ],
      [
        await request(api.url).get("/v1/fine_tuning/jobs/'%20OR%201=1--").set(api.headers),
        404,
        'fine_tune_not_found',
      ],
    ] as const;
    for (const [answer, status, code] of cases) {
      isErrorBody(answer.body);
      expect([answer.status, answer.body.error.code]).toEqual([status, code]);
    }
  });

  it.each([
    ['arrays', '['.repeat(100_000) + ']'.repeat(100_000)],
    ['objects', '{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000)],
    ['arrays that never end', '['.repeat(100_000)],
    ['a field', `{"model":"tiny","peft":${'['.repeat(65)}${']'.repeat(65)}}`],
  ])('rejects %s nested too deep on every route that accepts JSON', async (_, body) => {
    const posts = ROUTES.filter(([method, path]) => method === 'post' && path !== '/v1/files');
    for (const [, path] of posts) {
      const answer = await request(api.url)
        .post(at(path))
        .set(api.headers)
        .set('content-type', 'application/json')
        .send(body);
      isErrorBody(answer.body);
      expect([path, answer.status, answer.body.error.code]).toEqual([path, 400, 'invalid_json']);
      expect(answer.body.error.message).toContain('nested more than 64 levels deep');
    }
  });

  it.each([
    ['/v1/fine_tuning/jobs', 1000],
    ['/v1/fine_tuning/jobs/{job}/events', 1000],
    ['/v1/fine_tuning/jobs/{job}/logs', 1000],
    ['/v1/fine_tuning/jobs/{job}/checkpoints', 100],
    ['/v1/files', 10_000],
    ['/v1/files/{file}/records', 100],
  ])(
    'accepts limits up to the maximum on %s, and rejects a larger one with its param',
    async (path, most) => {
      const file = await uploadChats(api);
      const job = { model: 'tiny', training_file: file };
      const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', job);
      const at = path.replace('{job}', id).replace('{file}', file);
      const list = (limit: number) => request(api.url).get(`${at}?limit=${limit}`).set(api.headers);
      expect((await list(most)).status).toBe(200);
      const beyond = await list(most + 1);
      expect(beyond.status).toBe(400);
      expect(beyond.body.error).toEqual({
        message: `limit: expected an integer from 1 to ${most}, got ${most + 1}`,
        type: 'invalid_request_error',
        param: 'limit',
        code: 'invalid_value',
      });
    },
  );

  it.each(['gzip', 'br'])('compresses the dashboard with %s, but no event stream', async (way) => {
    const asked = { 'accept-encoding': way };
    const file = await request(api.url).get('/assets/large.js').set(asked);
    expect([file.status, file.headers['content-encoding']]).toEqual([200, way]);
    expect(file.headers['vary']).toContain('Accept-Encoding');
    expect(file.headers['cache-control']).toContain('immutable');
    if (way === 'gzip') expect(file.text).toBe(LARGE); // supertest decompresses only gzip
    const plain = await request(api.url)
      .get('/assets/large.js')
      .set({ 'accept-encoding': 'identity' });
    expect([plain.headers['content-encoding'], plain.text]).toEqual([undefined, LARGE]);
    const leaving = new AbortController();
    const stream = await fetch(`${api.url}/v1/stream`, {
      headers: { ...api.headers, ...asked },
      signal: leaving.signal,
    });
    expect(stream.headers.get('content-encoding')).toBeNull();
    const first = await stream.body!.getReader().read();
    expect(new TextDecoder().decode(first.value)).toMatch(/^(:|event:|id:|retry:)/);
    leaving.abort();
  });

  it('serves files that the build has compressed with Brotli as they are', async () => {
    const url = `${api.url}/assets/packed.js`;
    const packed = await fetch(url, { headers: { 'accept-encoding': 'gzip, deflate, br' } });
    const length = statSync(join(dashboardDir, 'assets', 'packed.js.br')).size;
    expect(Object.fromEntries(packed.headers)).toMatchObject({
      'content-encoding': 'br',
      'content-length': String(length),
      'content-type': expect.stringContaining('javascript'),
      'cache-control': expect.stringContaining('immutable'),
      'content-security-policy': expect.stringContaining("default-src 'self'"),
      vary: expect.stringContaining('Accept-Encoding'),
    });
    expect(await packed.text()).toBe(LARGE);
    const plain = await fetch(url, { headers: { 'accept-encoding': 'identity' } });
    expect([plain.headers.get('content-encoding'), await plain.text()]).toEqual([null, LARGE]);
  });

  it.each(['gzip', 'br'])('compresses API responses with %s', async (way) => {
    const catalog = (encoding: string) =>
      fetch(`${api.url}/v1/catalog`, { headers: { ...api.headers, 'accept-encoding': encoding } });
    const [packed, plain] = [await catalog(way), await catalog('identity')];
    expect([packed.status, packed.headers.get('content-encoding')]).toEqual([200, way]);
    expect(packed.headers.get('vary')).toContain('Accept-Encoding');
    expect(plain.headers.get('content-encoding')).toBeNull();
    expect(await packed.json()).toEqual(await plain.json());
  });

  it('sends downloads and ranges uncompressed, with their length', async () => {
    const id = await uploadChats(api, 100);
    const asked = { 'accept-encoding': 'gzip, br' };
    const file = await fetch(`${api.url}/v1/files/${id}/content`, {
      headers: { ...api.headers, ...asked },
    });
    expect(file.headers.get('content-encoding')).toBeNull();
    expect(file.headers.get('content-length')).toBe(String((await file.arrayBuffer()).byteLength));
    const part = await fetch(`${api.url}/assets/large.js`, {
      headers: { ...asked, range: 'bytes=100-2099' },
    });
    expect([part.status, part.headers.get('content-encoding')]).toEqual([206, null]);
    expect(part.headers.get('content-range')).toBe(`bytes 100-2099/${LARGE.length}`);
    expect(part.headers.get('content-length')).toBe('2000');
    expect(await part.text()).toBe(LARGE.slice(100, 2100));
  });

  it('serves the dashboard with its security headers, and never under /v1', async () => {
    for (const path of ['/', '/jobs/ftjob-1', '/models']) {
      const page = await request(api.url).get(path);
      expect(page.text).toContain('<title>Graft</title>');
      expect(page.headers['content-security-policy']).toContain("frame-ancestors 'none'");
      expect(page.headers['x-content-type-options']).toBe('nosniff');
    }
    expect((await request(api.url).get('/assets/app.js')).headers['cache-control']).toContain(
      'immutable',
    );
    expect((await request(api.url).get('/assets/none.js')).status).toBe(404);
    expect((await request(api.url).get('/..%2f..%2fetc%2fpasswd')).text).not.toContain('root:');
    expect((await request(api.url).get('/v1/jobs')).headers['content-type']).toContain('json');
  });

  it('stores its secrets in files that only their owner can read', () => {
    for (const name of ['credentials.json', 'join-token'])
      expect(statSync(join(api.home, name)).mode & 0o777).toBe(0o600);
    const written = JSON.parse(readFileSync(join(api.home, 'credentials.json'), 'utf8')) as {
      url: string;
      api_key: string;
    };
    expect(written).toEqual({
      url: `${api.url}/v1`,
      api_key: api.apiKey,
      grpc_url: `grpc://${api.grpcUrl}`,
    });
  });

  it('keeps its key across a restart', async () => {
    const key = api.apiKey;
    await api.restart();
    expect(api.apiKey).toBe(key);
    expect(await api.get('/models')).toMatchObject({ data: [{ id: 'tiny' }] });
  });
});

it("limits requests per key, with OpenAI's error and headers", async () => {
  const limited = await startTestApi({ requestsPerMinute: 30 });
  try {
    const ask = () => request(limited.url).get('/v1/models').set(limited.headers);
    let answer = await ask();
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({
      'x-ratelimit-limit-requests': '30',
      'x-ratelimit-remaining-requests': '29',
      'x-ratelimit-reset-requests': '2000ms',
    });
    for (let n = 0; n < 60 && answer.status === 200; n++) answer = await ask();
    expect(answer.status).toBe(429);
    isErrorBody(answer.body);
    expect(answer.body.error).toMatchObject({
      type: 'rate_limit_error',
      code: 'rate_limit_exceeded',
      message: expect.stringContaining('rate limit of 30 requests a minute exceeded') as string,
    });
    expect(answer.headers['retry-after']).toMatch(/^[12]$/);
    expect((await request(limited.url).get('/healthz')).status).toBe(200);
    expect((await request(limited.url).get('/v1/models')).status).toBe(401);
    // The SDK waits for retry-after and succeeds.
    const patient = limited.client.withOptions({ maxRetries: 2 });
    expect((await patient.models.list()).data).toEqual([]);
  } finally {
    await limited.close();
  }
});
