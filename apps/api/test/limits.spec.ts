import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinySpeechBase } from '../../../test/tiny-audio.js';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

// Requests that are too large for a worker are rejected, and the worker's stream continues.

const BODY_LIMIT = 4 * 1024 * 1024;

describe('a request too large for a worker', () => {
  let api: TestApi;
  let worker: ScriptedWorker;

  beforeAll(async () => {
    api = await startTestApi();
    await importBase(api);
    worker = await new ScriptedWorker(api).connect();
  });
  afterAll(async () => {
    worker?.vanish();
    await api?.close();
  });

  const post = (path: string, body: object) =>
    fetch(`${api.url}/v1${path}`, {
      method: 'POST',
      headers: { ...api.headers, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
  const refusal = async (path: string, body: object) => {
    const response = await post(path, body);
    const { error } = (await response.json()) as {
      error: { code: string; message: string; param: string };
    };
    return { status: response.status, ...error };
  };
  /** Chat whose body has `bytes` bytes; the last message is filled up. */
  const chat = (bytes: number, messages: object[] = []) => {
    const body = (fill: string) => ({
      model: 'tiny',
      messages: [...messages, { role: 'user', content: fill }],
    });
    const fill = 'x'.repeat(bytes - JSON.stringify(body('')).length);
    return body(fill);
  };
  const answer = (text: string): void => {
    const { id = '' } = worker.requests.at(-1) ?? {};
    worker.sendText(id, text);
  };

  it('returns 413, and open chats continue', async () => {
    const open = post('/chat/completions', chat(200));
    await until(() => worker.requests.length === 1);
    const empty = Array.from({ length: 1999 }, () => ({ role: 'user' }));
    for (const body of [
      chat(BODY_LIMIT - 1),
      chat(BODY_LIMIT - 1, empty),
      chat(BODY_LIMIT / 2),
      chat(1024 * 1024),
    ])
      expect(await refusal('/chat/completions', body)).toMatchObject({
        status: 413,
        code: 'request_too_large',
        param: 'messages',
        message: expect.stringContaining('the limit is'),
      });
    expect(
      await refusal('/completions', { model: 'tiny', prompt: '€'.repeat(400_000) }),
    ).toMatchObject({ status: 413, code: 'request_too_large', param: 'prompt' });
    expect(worker.requests).toHaveLength(1);
    expect(worker.ended).toBeNull();
    answer('still here');
    expect(await (await open).json()).toMatchObject({
      choices: [{ message: { content: 'still here' } }],
    });
  });

  it('is accepted below the limit', async () => {
    const large = post('/chat/completions', chat(900 * 1024));
    await until(() => worker.requests.length === 2);
    expect(worker.requests[1]?.payload.length).toBeGreaterThan(890 * 1024);
    answer('read it all');
    expect((await large).status).toBe(200);
  });

  it('never ends the stream, whatever makes it large', async () => {
    // A base with so many files that their names alone exceed a message.
    await api.query(
      `INSERT INTO model (id, kind, family, status, base_dtype, files) SELECT 'parts', kind, family, status, base_dtype,
         (SELECT jsonb_agg(jsonb_build_object('name', 'part-' || n, 'sha256', repeat('a', 64), 'size', 1))
          FROM generate_series(1, 300000) AS n) FROM model WHERE id = 'tiny'`,
    );
    expect(await refusal('/chat/completions', { ...chat(200), model: 'parts' })).toMatchObject({
      status: 413,
      code: 'request_too_large',
    });
    expect(worker.ended).toBeNull();
  });

  it('is not buffered for a worker that stops reading: its stream ends, and its chats fail', async () => {
    const stopped = await new ScriptedWorker(api, { name: 'stopped', maxChats: 64 }).connect();
    const cordon = (yes: boolean) =>
      api.query('UPDATE worker SET cordoned = $2 WHERE id = $1', [worker.welcome?.workerId, yes]);
    await cordon(true);
    stopped.stopReading();
    const asked = Array.from({ length: 40 }, () => refusal('/chat/completions', chat(900 * 1024)));
    const answers = await Promise.all(asked);
    // Later requests find no worker.
    for (const { status } of answers) expect(status).toBe(503);
    expect(answers.filter(({ code }) => code === 'unavailable').length).toBeGreaterThan(10);
    stopped.vanish();
    await cordon(false);
    expect(worker.ended).toBeNull();
  });

  it('fails its job if it is an assignment, and the next job is assigned', async () => {
    const file = await uploadChats(api);
    const create = () =>
      api.post<{ id: string }>('/fine_tuning/jobs', { model: 'tiny', training_file: file });
    const large = await create();
    // As an earlier version without these limits may have accepted it.
    await api.query(
      `UPDATE job SET spec = jsonb_set(spec, '{peft,target_modules}', to_jsonb(repeat('x', 5000000))) WHERE id = $1`,
      [large.id],
    );
    worker.pull();
    await until(
      async () =>
        (await api.get<{ status: string }>(`/fine_tuning/jobs/${large.id}`)).status === 'failed',
    );
    expect(await api.get(`/fine_tuning/jobs/${large.id}`)).toMatchObject({
      error: { code: 'request_too_large', message: expect.stringContaining('the limit is') },
      graft: { attempts: [{ outcome: 'request_too_large' }] },
    });
    expect(worker.ended).toBeNull();
    const next = await create();
    await until(() => worker.assignments.length === 1);
    expect(worker.assignments[0]?.jobId).toBe(next.id);
  });
});

describe('audio for a worker that stops reading', () => {
  let api: TestApi;
  let dir: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'graft-limits-'));
    api = await startTestApi({ leaseMs: 1500 });
    await importBase(api, 'whisper', writeTinySpeechBase(join(dir, 'whisper')));
  });
  afterAll(async () => {
    await api?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('ends the stream after two lease durations', async () => {
    const worker = await new ScriptedWorker(api).connect();
    worker.stopReading();
    // A RIFF file of 24 MiB, more than the flow-control window.
    const audio = Buffer.concat([Buffer.from('RIFF\0\0\0\0WAVE'), Buffer.alloc(24 << 20)]);
    const body = new FormData();
    body.append('model', 'whisper');
    body.append('file', new File([new Uint8Array(audio)], 'long.wav'));
    const url = `${api.url}/v1/audio/transcriptions`;
    const response = await fetch(url, { method: 'POST', headers: api.headers, body });
    expect([response.status, await response.json()]).toMatchObject([
      503,
      { error: { code: 'unavailable', message: expect.stringContaining('connection to the worker') } }, // prettier-ignore
    ]);
    worker.vanish();
  });
});
