// W&B's own client writes to the tracker server of apps/api/test/integrations.spec.ts: the server accepts the
// real protocol, and Graft writes a job as the client writes the same run.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wandb } from '../../apps/api/src/integrations/wandb.js';
import type { SendRequest, TrackedJob } from '../../apps/api/src/integrations/tracker.js';
import { pythonJson, TrackerServer } from '../../apps/api/test/tracker-server.js';
import { missing, python, ready } from './trackers.js';

const KEY = 'a'.repeat(40);

let dir: string;
let server: TrackerServer;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'graft-wandb-'));
  server = await TrackerServer.open();
});
afterAll(async () => {
  await server?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const ask: SendRequest = async ({ url }, { method, path, headers, body }) =>
  (await fetch(`${url}${path}`, { method, headers, body: JSON.stringify(body) })).json();

/** Writes the run of the client's script as a job of Graft. */
async function ours(): Promise<void> {
  const at = new Date();
  const connection = { url: server.url, username: null, secret: KEY };
  const settings = { project: 'pirates', entity: 'crew', name: null, tags: ['first'] };
  const job = {
    ...{ id: 'ours', model: 'tiny', suffix: 'parrot', training_file: 'file-1' },
    ...{ validation_file: null, fine_tuned_model: null, state: 'succeeded', settings },
    ...{ spec: { seed: 7, task: 'causal_lm' }, started_at: at, finished_at: at },
  } as unknown as TrackedJob;
  const { remote } = await wandb.open(ask, connection, job);
  const points = [3.9, NaN, 3.7].map((loss, n) => ({
    number: n + 1,
    at,
    step: n + 1,
    values: { 'train/loss': loss },
  }));
  await wandb.finish(ask, connection, await wandb.send(ask, connection, remote, job, points), job);
}

describe.skipIf(!ready)(`W&B’s client${ready ? '' : ` (skipped: ${missing})`}`, () => {
  it('writes what Graft writes', async () => {
    const script = join(import.meta.dirname, 'wandb_log.py');
    const env = { ...process.env, WANDB_DIR: dir, WANDB_ERROR_REPORTING: 'false', HOME: dir };
    const child = spawn(python, [script, server.url], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    expect([(await once(child, 'close'))[0], said]).toEqual([0, expect.any(String)]);
    const authorizations = new Set(server.requests.map(({ authorization }) => authorization));
    await ours();
    expect(new Set(server.requests.map(({ authorization }) => authorization))).toEqual(
      authorizations,
    );

    const theirs = server.wandb.get('theirs')!;
    const own = server.wandb.get('ours')!;
    for (const field of ['project', 'entity', 'displayName', 'tags', 'exitcode'] as const)
      expect(own[field], field).toEqual(theirs[field]);
    expect(own.config['seed']).toEqual(theirs.config['seed']);
    // Returns the step metric of train/loss, the part of the definition that both have.
    const over = (run: typeof own): unknown => {
      const { m } = run.config['_wandb']!.value as { m: Record<string, unknown>[] };
      const loss = m.find((one) => one['1'] === 'train/loss')!;
      return m[Number(loss['5']) - 1]!['1'];
    };
    expect(over(theirs)).toBe('train/global_step');
    expect(over(own)).toBe('train/global_step');
    const lines = (run: typeof own) => run.history.map(pythonJson);
    const numbers = (run: typeof own) =>
      lines(run).map(({ _timestamp, _runtime, ...rest }) => {
        expect(_timestamp).toBeTypeOf('number');
        expect(_runtime).toBeTypeOf('number');
        return rest;
      });
    expect(numbers(theirs)).toHaveLength(3);
    expect(numbers(own)).toEqual(numbers(theirs));
    expect(own.summary).toMatchObject({ 'train/loss': theirs.summary['train/loss'] });
  }, 120_000);
});
