// The proxies of docker-compose.yml in front of two real API processes, if HAProxy is installed: their own
// files, with local ports instead of the containers' names.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../../test/servers.js';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker, started } from './scripted-worker.js';

const MAIN = fileURLToPath(new URL('process.mjs', import.meta.url));
const DEPLOY = fileURLToPath(new URL('../../../deploy/', import.meta.url));
const HAPROXY = (process.env['PATH'] ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'haproxy'))
  .find(existsSync);

const portOf = (url: string): string => url.slice(url.lastIndexOf(':') + 1);

describe.skipIf(HAPROXY === undefined)('two API processes behind the proxies of Compose', () => {
  let a: TestApi;
  let b: { url: string; grpcUrl: string; child: ChildProcess };
  let rest: string;
  let gateway: string;
  const children: ChildProcess[] = [];

  const run = (file: string, args: string[]): ChildProcess => {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    return child;
  };

  /** Starts HAProxy with a file of deploy/ and real addresses; returns its address. */
  const proxy = async (name: string, servers: readonly (readonly [string, string])[]) => {
    const port = await freePort();
    const config = readFileSync(join(DEPLOY, `${name}.haproxy.cfg`), 'utf8')
      .replace(/bind :\d+/, `bind 127.0.0.1:${port}`)
      .replace(/^resolvers[\s\S]*?\n\n/m, '')
      .replace(/check port 8080 /, 'check ')
      .replace(/^ {2}server-template (\w+-) \d+ \S+ (.*?)resolvers.*$/m, (_, prefix, options) =>
        servers
          .map(
            ([address, checked], n) =>
              `  server ${prefix}${n} ${address} ${options} port ${checked}`,
          )
          .join('\n'),
      );
    const file = join(a.home, `${name}.cfg`);
    writeFileSync(file, config);
    run(HAPROXY as string, ['-db', '-f', file]);
    return `127.0.0.1:${port}`;
  };

  beforeAll(async () => {
    a = await startTestApi({ reconcileMs: 300 });
    const child = run(process.execPath, [MAIN, JSON.stringify(a.config)]);
    let out = '';
    child.stdout?.on('data', (text: Buffer) => (out += text.toString()));
    await until(() => out.includes('\n'), 60_000);
    b = { ...JSON.parse(out.slice(out.indexOf('{'))), child };
    const checks = [portOf(a.url), portOf(b.url)] as const;
    rest = `http://${await proxy('rest', [
      [`127.0.0.1:${checks[0]}`, checks[0]],
      [`127.0.0.1:${checks[1]}`, checks[1]],
    ])}`;
    gateway = await proxy('gateway', [
      [a.grpcUrl, checks[0]],
      [b.grpcUrl, checks[1]],
    ]);
    await importBase(a);
    await until(async () => (await fetch(`${rest}/healthz`).catch(() => null))?.ok === true);
  }, 90_000);

  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await a?.close();
  });

  it('spread workers over both, and continue with one', async () => {
    const file = await uploadChats(a);
    const through = { grpcUrl: gateway, joinToken: a.joinToken } as TestApi;
    const workers: ScriptedWorker[] = [];
    for (let n = 0; n < 4; n++)
      workers.push(await new ScriptedWorker(through, { pool: `pool-${n}` }).connect());
    const spread = await a.query<{ workers: number }>(
      'SELECT count(*)::int AS workers FROM worker GROUP BY gateway_id',
    );
    expect(spread.map((row) => row.workers)).toEqual([2, 2]);

    const create = async (pool: string): Promise<string> => {
      const response = await fetch(`${rest}/v1/fine_tuning/jobs`, {
        method: 'POST',
        headers: { ...a.headers, 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'tiny', training_file: file, graft: { pool } }),
      });
      return ((await response.json()) as { id: string }).id;
    };
    for (const [n, worker] of workers.entries()) {
      const job = await create(`pool-${n}`);
      const assignment = await worker.nextAssignment();
      expect(assignment.jobId).toBe(job);
      await worker.report(assignment, started());
      worker.keep(assignment);
    }
    // A blob larger than the flow-control window is uploaded while its stream sends heartbeats.
    const [worker, assignment] = [workers[0], workers[0]?.assignments[0]];
    if (worker && assignment) await worker.put(assignment, 'large.bin', 'x'.repeat(3 << 20));

    b.child.kill('SIGKILL');
    await until(() => workers.filter(({ ended }) => ended !== null).length === 2);
    // The same address now leads to the other process.
    const back = await new ScriptedWorker(through, { pool: 'pool-0' }).connect();
    expect(back.welcome).not.toBeNull();
    const job = await create('pool-0');
    expect((await back.nextAssignment()).jobId).toBe(job);
    for (const one of [...workers, back]) one.vanish();
  }, 90_000);
});
