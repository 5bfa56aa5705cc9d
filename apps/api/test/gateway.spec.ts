import { credentials, status, type Metadata, type StatusObject } from '@grpc/grpc-js';
import { Command_Action, WorkerServiceClient, WorkerServiceService } from '@graft/contracts/grpc';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { bearer, saved, ScriptedWorker, started, step } from './scripted-worker.js';

// Authentication and authorization of gateway calls, on a real server over real gRPC.

const UNAUTHENTICATED = { code: status.UNAUTHENTICATED };
const NOT_FOUND = { code: status.NOT_FOUND };
let api: TestApi;
let client: WorkerServiceClient;

beforeAll(async () => {
  api = await startTestApi({ leaseMs: 1500, reconcileMs: 200, retryBackoffMs: 50 });
  client = new WorkerServiceClient(api.grpcUrl, credentials.createInsecure());
  await importBase(api);
});
afterAll(async () => {
  client?.close();
  await api?.close();
});

const METHODS = Object.entries(WorkerServiceService).filter(([name]) => name !== 'connect');

/** Calls any method with an empty message; returns the final status. */
function call(path: string, metadata: Metadata): Promise<StatusObject> {
  const bytes = (value: Buffer): Buffer => value;
  return new Promise((resolve) => {
    const made = client.makeBidiStreamRequest(path, bytes, bytes, metadata);
    made.on('data', () => undefined);
    made.on('error', () => undefined);
    made.on('status', resolve);
    made.write(Buffer.alloc(0));
    made.end();
  });
}

async function refused(metadata: Metadata): Promise<void> {
  for (const [name, { path }] of METHODS) {
    const { code } = await call(path, metadata);
    expect([name, code]).toEqual([name, status.UNAUTHENTICATED]);
  }
}

let pools = 0;
async function assigned(pool = `pool-${pools++}`) {
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { pool },
  });
  const worker = await new ScriptedWorker(api, { pool }).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  return { id, worker, lease };
}

describe('the gateway', () => {
  it('rejects all methods except Connect without the session of a connected worker', async () => {
    expect(METHODS.map(([name]) => name)).toEqual([
      'fetchBlob',
      'putBlob',
      'putBlobState',
      'findDeletedBlobs',
    ]);
    const worker = await new ScriptedWorker(api).connect();
    const [prefix, kind, id, secret] = worker.session.split('-') as [
      string,
      string,
      string,
      string,
    ];
    const body = [prefix, kind, id, [...secret].reverse().join('')].join('-');
    const forged = `${body}-${crc32(body).toString(16).padStart(8, '0')}`;
    await refused(bearer(''));
    for (const wrong of ['nonsense', api.joinToken, api.apiKey, forged, `${worker.session}0`])
      await refused(bearer(wrong));
    for (const [name, { path }] of METHODS) {
      const { code } = await call(path, bearer(worker.session));
      expect([name, code]).not.toEqual([name, status.UNAUTHENTICATED]);
    }
    // A session is not a join token, so it does not open a stream.
    const intruder = await new ScriptedWorker(api, { token: worker.session }).connect();
    expect(intruder.ended).toContain('join token');
    const rows = await api.query<object>('SELECT * FROM worker');
    expect(JSON.stringify(rows)).toContain(id);
    expect(JSON.stringify(rows)).not.toContain(secret);
    worker.vanish();
  });

  it('invalidates a session when its worker leaves or joins again', async () => {
    const first = await new ScriptedWorker(api, { instance: 'twice' }).connect();
    const second = await new ScriptedWorker(api, { instance: 'twice' }).connect();
    expect(second.welcome?.workerId).toBe(first.welcome?.workerId);
    await refused(bearer(first.session));
    first.vanish();
    const base = await api.query<{ files: { sha256: string }[] }>('SELECT files FROM model');
    const sha256 = base[0]?.files[0]?.sha256 ?? '';
    expect((await second.fetch(sha256)).length).toBeGreaterThan(0);
    const { session } = second;
    second.vanish();
    await until(async () => (await call(METHODS[0]?.[1].path ?? '', bearer(session))).code === 16);
    await refused(bearer(session));
  });

  it('ignores messages and events of newer workers', async () => {
    const { id, worker, lease } = await assigned();
    worker.sendUnknown();
    const unknown = { ...worker.event(lease, started()), kind: 'from_a_newer_worker' };
    const ack = await worker.batch([
      worker.event(lease, started(0, 9)),
      unknown,
      worker.event(lease, step(1)),
    ]);
    expect(ack.stale).toEqual([]);
    const job = await api.get<{ graft: { progress: { step: number } } }>(`/fine_tuning/jobs/${id}`);
    expect(job.graft.progress.step).toBe(1);
    expect(worker.ended).toBeNull();
    worker.vanish();
  });

  it('rejects a worker whose join token was revoked, and ends its lease', async () => {
    const token = await api.post<{ id: string; secret: string }>('/join_tokens', {});
    const pool = `pool-${pools++}`;
    const worker = await new ScriptedWorker(api, { pool, token: token.secret }).connect();
    const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: await uploadChats(api),
      graft: { pool },
    });
    const lease = await worker.nextAssignment();
    await worker.put(lease, 'before', 'fine');
    await fetch(`${api.url}/v1/join_tokens/${token.id}`, {
      method: 'DELETE',
      headers: api.headers,
    });
    await expect(worker.put(lease, 'after', 'late')).rejects.toMatchObject(UNAUTHENTICATED);
    await refused(bearer(worker.session));
    await expect(
      worker.heartbeat([{ jobId: id, attempt: lease.attempt, step: 0 }]),
    ).rejects.toThrow();
    expect(worker.ended).toContain('revoked');
    await until(
      async () =>
        (await api.get<{ status: string }>(`/fine_tuning/jobs/${id}`)).status === 'queued',
    );
    worker.vanish();
  });

  it('keeps a worker whose join token has expired since it joined', async () => {
    const token = await api.post<{ id: string; secret: string }>('/join_tokens', {
      expires_at: Math.floor(Date.now() / 1000) + 3600,
    });
    const pool = `pool-${pools++}`;
    const worker = await new ScriptedWorker(api, { pool, token: token.secret }).connect();
    await api.query(`UPDATE join_token SET expires_at = now() - interval '1 s' WHERE id = $1`, [
      token.id,
    ]);
    await worker.heartbeat([]);
    const late = await new ScriptedWorker(api, { pool, token: token.secret }).connect();
    expect(late.ended).toContain('expired');
    worker.vanish();
  });

  it("allows access to a job's blobs only under the lease of its own worker", async () => {
    const { id, worker, lease } = await assigned();
    const state = await worker.put(lease, 'state', `state of ${id}`);
    await worker.report(lease, started(), step(1), saved(1, [state]));
    const training = lease.trainingFile?.sha256 ?? '';
    for (const sha256 of [training, state.sha256])
      expect((await worker.fetch(sha256)).length).toBeGreaterThan(0);

    const other = await new ScriptedWorker(api, { pool: 'elsewhere' }).connect();
    for (const sha256 of [training, state.sha256])
      await expect(other.fetch(sha256)).rejects.toMatchObject(NOT_FOUND);
    await expect(other.put(lease, 'state', 'a forgery')).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
    });
    // The error does not reveal the hash of content that was not announced.
    const { sha256 } = await worker.put(lease, 'other', 'not announced');
    const refused = worker.put(lease, 'other', 'not announced', { sha256: '0'.repeat(64) });
    await expect(refused).rejects.toMatchObject({
      details: expect.stringContaining('differs from the announced one') as string,
    });
    await expect(refused).rejects.not.toThrow(sha256);
    // Any worker may fetch a base, for chats. PEFT needs the original path.
    expect(lease.base?.nameOrPath).toBe(join(api.home, 'source'));
    const base = lease.base?.files[0]?.sha256 ?? '';
    expect((await other.fetch(base)).length).toBeGreaterThan(0);

    await worker.finish(lease, 10);
    for (const sha256 of [training, state.sha256])
      await expect(worker.fetch(sha256)).rejects.toMatchObject(NOT_FOUND);
    worker.vanish();
    other.vanish();
  });

  it('allows an adapter only to the worker that answers with it, only while it answers', async () => {
    const { id, worker, lease } = await assigned();
    await worker.finish(lease, 10);
    worker.vanish();
    const { fine_tuned_model } = await api.get<{ fine_tuned_model: string }>(
      `/fine_tuning/jobs/${id}`,
    );
    await until(
      async () => (await api.get<{ workers_online: number }>('/overview')).workers_online === 0,
    );
    const answering = await new ScriptedWorker(api, { pool: 'answers' }).connect();
    const reply = api.client.chat.completions.create({
      model: fine_tuned_model,
      messages: [{ role: 'user', content: 'hello' }],
    });
    await until(() => answering.requests.length === 1);
    const idle = await new ScriptedWorker(api, { pool: 'answers' }).connect();
    const question = answering.requests[0];
    const adapter = question?.adapter[0]?.sha256 ?? '';
    expect((await answering.fetch(adapter)).length).toBeGreaterThan(0);
    await expect(idle.fetch(adapter)).rejects.toMatchObject(NOT_FOUND);
    answering.sendText(question?.id ?? '', 'hi');
    expect((await reply).choices[0]?.message.content).toBe('hi');
    await expect(answering.fetch(adapter)).rejects.toMatchObject(NOT_FOUND);
    answering.vanish();
    idle.vanish();
  });
});

it('sends a cancel command before it reports the lease as lost', async () => {
  const { id, worker, lease } = await assigned();
  await worker.report(lease, started(), step(1));
  await api.post(`/fine_tuning/jobs/${id}/cancel`);
  await until(() => worker.commands.length > 0);
  const run = { jobId: id, attempt: lease.attempt };
  const cancel = expect.objectContaining({ ...run, action: Command_Action.ACTION_CANCEL });
  // as if the command had not arrived
  worker.commands.length = 0;
  expect(await worker.heartbeat([{ ...run, step: 1 }])).toMatchObject({ lost: [run] });
  expect(worker.commands).toContainEqual(cancel);
  worker.commands.length = 0;
  expect((await worker.report(lease, step(2))).stale).toMatchObject([run]);
  expect(worker.commands).toContainEqual(cancel);
  worker.vanish();
});
