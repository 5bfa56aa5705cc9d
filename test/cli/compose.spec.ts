// docker-compose.yml without Docker: starts the API and a worker with its variables, but with hosts and folders of this
// machine. PostgreSQL and the queue are the embedded ones.
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ChildProcess } from 'node:child_process';
import { load, YAML11_SCHEMA } from 'js-yaml';
import { afterAll, expect, it } from 'vitest';
import { API, WORKER, cleanEnv, graft, startUntil } from './graft.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface Compose {
  readonly services: Record<string, { readonly environment: Record<string, string | null> }>;
}

const dir = mkdtempSync(join(tmpdir(), 'graft-compose-'));
const programs: ChildProcess[] = [];
afterAll(async () => {
  for (const child of programs.reverse()) {
    if (child.exitCode !== null) continue;
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  rmSync(dir, { recursive: true, force: true });
});

it('connects the worker with the token file that the API has written', async () => {
  chmodSync(dir, 0o755);
  const compose = load(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'), {
    schema: YAML11_SCHEMA,
  }) as Compose;
  const here = (name: string, other: Record<string, string>): NodeJS.ProcessEnv => {
    // Compose takes a variable without a value from its own environment.
    const given = Object.entries(compose.services[name]!.environment).flatMap(
      ([variable, value]) =>
        value === null
          ? []
          : [[variable, value.replace('/var/lib', dir).replace(/^\/graft\//, ROOT)]],
    );
    return cleanEnv({ ...Object.fromEntries(given), ...other });
  };
  mkdirSync(join(dir, 'graft'));
  const api = await startUntil(
    API,
    [],
    here('api', {
      GRAFT_HOST: '127.0.0.1',
      GRAFT_GRPC_HOST: '127.0.0.1',
      GRAFT_RELAY_HOST: '127.0.0.1',
      GRAFT_RELAY_PORT: '0',
      GRAFT_PORT: '0',
      GRAFT_GRPC_PORT: '0',
      GRAFT_DATABASE_URL: '',
      GRAFT_QUEUE_URL: '',
    }),
    '"grpc_url"',
  );
  programs.push(api.child);
  const { grpc_url: grpc, join_token_file: token } = JSON.parse(
    api
      .text()
      .out.split('\n')
      .find((line) => line.includes('"grpc_url"'))!,
  ) as { grpc_url: string; join_token_file: string };
  expect(token).toBe(join(dir, 'graft-join/token'));
  expect(statSync(token).mode & 0o777).toBe(0o600);

  const worker = await startUntil(
    WORKER,
    ['--name', 'composed'],
    here('worker', { GRAFT_WORKER_URL: `grpc://${grpc}`, GRAFT_LOG_LEVEL: 'info' }),
    '"connected"',
  );
  programs.push(worker.child);
  expect((await graft(join(dir, 'graft'), ['workers'])).out).toMatch(/composed +default +online/);
});
