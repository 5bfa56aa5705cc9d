import { mkdtempSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiConfig } from '@graft/api';
import type { OverviewObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Authority } from '../../../test/certificates.js';
import { startTestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

// Gateway address in GET /v1/overview, to which workers connect.

let dir: string;
let named: { grpcTlsCert: string; grpcTlsKey: string };
let wildcard: typeof named;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'graft-address-'));
  const authority = new Authority(dir, 'authority');
  const issue = (names: string): typeof named => {
    const { cert, key } = authority.issue(names);
    return { grpcTlsCert: cert, grpcTlsKey: key };
  };
  named = issue('IP:10.0.0.9,DNS:graft.example.org');
  wildcard = issue('DNS:*.example.org');
});
afterAll(() => rmSync(dir, { recursive: true }));

const THERE: readonly [string, () => Partial<ApiConfig>, string, boolean][] = [
  ['on this host', () => ({}), 'grpc://127.0.0.1', false],
  ['on this host, with a certificate for other names', () => named, 'grpc://127.0.0.1', false],
  [
    'on all addresses, by the name in the certificate',
    () => ({ grpcHost: '0.0.0.0', ...named }),
    'grpcs://graft.example.org',
    true,
  ],
  [
    'on all addresses, by the host name if the certificate has only a wildcard',
    () => ({ grpcHost: '0.0.0.0', ...wildcard }),
    `grpcs://${hostname()}`,
    true,
  ],
  [
    'on all addresses without TLS',
    () => ({ grpcHost: '::', host: '::1', insecureGrpc: true }),
    `grpc://${hostname()}`,
    true,
  ],
];

it.each(THERE)('workers reach the gateway %s', async (_, config, url, beyond) => {
  const api = await startTestApi(config());
  try {
    const { gateway } = await api.get<OverviewObject>('/overview');
    expect(gateway).toEqual({
      url: expect.stringMatching(`^${url.replaceAll('.', '\\.')}:\\d+$`),
      tls: url.startsWith('grpcs'),
      listens_beyond_host: beyond,
    });
    const port = gateway.url.split(':').at(-1);
    if (gateway.tls) return expect(api.grpcUrl).toMatch(`:${port}`);
    const worker = await new ScriptedWorker({ ...api, grpcUrl: `127.0.0.1:${port}` }).connect();
    expect(worker.welcome).not.toBeNull();
    worker.vanish();
  } finally {
    await api.close();
  }
});
