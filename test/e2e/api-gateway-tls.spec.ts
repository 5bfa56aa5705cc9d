import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ChildProcess } from 'node:child_process';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Authority } from '../certificates.js';
import { API, cleanEnv, startUntil } from '../cli/graft.js';
import {
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { ScriptedWorker } from '../../apps/api/test/scripted-worker.js';

// The gateway over TLS: real certificates, the real API, real worker processes.

const WORKER = fileURLToPath(new URL('../../apps/worker/bundle/main.js', import.meta.url));
/** Worker with a trainer that starts faster. */
const IDLE_WORKER = fileURLToPath(new URL('../../apps/worker/test/worker.mjs', import.meta.url));

let dir: string;
let authority: Authority;
let stranger: Authority;
let token: string;
let certificate: { grpcTlsCert: string; grpcTlsKey: string };
let api: TestApi;
const children: ChildProcess[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'graft-tls-'));
  authority = new Authority(dir, 'authority');
  stranger = new Authority(dir, 'stranger');
  const { cert, key } = authority.issue('DNS:localhost');
  certificate = { grpcTlsCert: cert, grpcTlsKey: key };
  api = await startTestApi(certificate);
  token = join(dir, 'token');
  writeFileSync(token, api.joinToken);
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
afterAll(async () => {
  await api?.close();
  rmSync(dir, { recursive: true, force: true });
});

let homes = 0;
/** Starts a worker and waits for `sign` in its output. Returns the output. */
async function worker(sign: string, args: string[], program = IDLE_WORKER): Promise<string> {
  const rest = ['--token-file', token, '--home', join(dir, `home-${++homes}`), '--threads', '1'];
  const env = cleanEnv({ GRAFT_LOG_LEVEL: 'info' });
  const { child, text } = await startUntil(program, [...args, ...rest], env, sign);
  children.push(child);
  return text().out + text().err;
}

const tls = (host: string): string => `grpcs://${host}:${api.grpcUrl.split(':')[1]}`;

describe('the gateway over TLS', () => {
  it('accepts a worker that trusts its certificate authority, and runs a job on it', async () => {
    await importBase(api);
    await worker('"connected"', ['--url', tls('localhost'), '--ca-file', authority.cert], WORKER);
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
      hyperparameters: { n_epochs: 1 },
    });
    await until(async () => {
      const job = await api.get<{ status: string; error: unknown }>(`/fine_tuning/jobs/${id}`);
      if (job.status === 'failed') throw new Error(JSON.stringify(job.error));
      return job.status === 'succeeded';
    }, 60_000);
  });

  it.each([
    ['with another authority', () => ['--ca-file', stranger.cert]],
    ["with the system's authorities", () => []],
  ])('receives no token from a worker that does not trust it %s', async (_, flags) => {
    const written = await worker('does not trust', ['--url', tls('localhost'), ...flags()]);
    expect(written).toMatch(/localhost:\d+ has a certificate that this worker does not trust/);
    expect(written).toContain('Set --ca-file to the certificate of its issuer');
    expect(written).not.toContain('"connected"');
  });

  it('is rejected by a worker if its certificate has another host name', async () => {
    const flags = ['--url', tls('127.0.0.1'), '--ca-file', authority.cert];
    expect(await worker('does not trust', flags)).toContain("the cert's list");
  });

  it('lets a worker without TLS suggest a URL with TLS', async () => {
    const written = await worker('starts with grpcs://', ['--url', `grpc://${api.grpcUrl}`]);
    expect(written).toContain('accepted the connection and closed it');
  });

  it('has a port without TLS on this host only, and a worker with TLS suggests a URL without it', async () => {
    expect(api.localGrpcUrl).toMatch(/^127\.0\.0\.1:\d+$/);
    const local = await new ScriptedWorker({ ...api, grpcUrl: api.localGrpcUrl }).connect();
    expect(local.welcome).not.toBeNull();
    local.vanish();
    const flags = ['--url', `grpcs://${api.localGrpcUrl}`, '--ca-file', authority.cert];
    expect(await worker('does not use TLS', flags)).toContain('starts with grpc://');
  });
});

/** Listening addresses of a port, from /proc/net. */
const listening = (port: number): string[] =>
  ['tcp', 'tcp6'].flatMap((family) =>
    readFileSync(`/proc/net/${family}`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(
        ([, local, , state]) => state === '0A' && parseInt(local!.split(':')[1]!, 16) === port,
      )
      .map(([, local]) => local!.split(':')[0]!),
  );
const LOOPBACK = '0100007F';
const EVERYWHERE = '00000000';

describe('the API', () => {
  it('opens the gateway to other hosts without opening REST', async () => {
    const opened = await startTestApi({ ...certificate, grpcHost: '0.0.0.0' });
    try {
      expect(listening(Number(opened.grpcUrl.split(':')[1]))).toEqual([EVERYWHERE]);
      expect(listening(Number(new URL(opened.url).port))).toEqual([LOOPBACK]);
      expect(opened.warnings).toEqual([]);
    } finally {
      await opened.close();
    }
  });

  it('opens REST to other hosts without opening the gateway, and warns that REST has no TLS', async () => {
    const opened = await startTestApi({ host: '0.0.0.0' });
    try {
      expect(listening(Number(opened.grpcUrl.split(':')[1]))).toEqual([LOOPBACK]);
      expect(listening(Number(new URL(opened.url).port))).toEqual([EVERYWHERE]);
      expect(opened.warnings).toEqual([
        expect.stringContaining('REST and the dashboard listen on 0.0.0.0 without TLS'),
      ]);
    } finally {
      await opened.close();
    }
  });

  it('does not start without TLS on an address that other hosts can reach', () => {
    const home = join(dir, 'refused');
    const { status, stderr } = spawnSync(process.execPath, [API, '--home', home], {
      env: cleanEnv({ GRAFT_GRPC_HOST: '0.0.0.0' }),
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toContain('--grpc-tls-cert and --grpc-tls-key, or --insecure-grpc');
    expect(existsSync(home)).toBe(false);
  });
});
