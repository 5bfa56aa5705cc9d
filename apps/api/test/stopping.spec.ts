// One of two real API processes gets SIGTERM during answers.
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

const MAIN = fileURLToPath(new URL('../bundle/main.js', import.meta.url));

interface Stopping {
  readonly where: TestApi;
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
}

describe('an API process that gets SIGTERM', () => {
  let other: TestApi;
  const children: ChildProcess[] = [];
  const workers: ScriptedWorker[] = [];
  beforeAll(async () => {
    other = await startTestApi();
    await importBase(other);
  });
  afterEach(async () => {
    for (const worker of workers.splice(0)) worker.vanish();
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await until(async () => (await other.query('SELECT 1 FROM answer')).length === 0, 30_000);
  });
  afterAll(() => other?.close());

  const start = async (drainSeconds: number): Promise<Stopping> => {
    const { home, databaseUrl } = other.config;
    const child = spawn(
      process.execPath,
      [MAIN, '--home', home, '--database-url', databaseUrl ?? '', '--port', '0', '--grpc-port', '0', '--drain-seconds', `${drainSeconds}`], // prettier-ignore
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    children.push(child);
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
    let out = '';
    child.stdout?.on('data', (text: Buffer) => (out += text.toString()));
    await until(() => out.includes('\n'), 60_000);
    const { url, grpc_url: grpcUrl } = JSON.parse(out.slice(out.indexOf('{'))) as {
      url: string;
      grpc_url: string;
    };
    const where = { ...other, url, grpcUrl, joinToken: other.joinToken } as TestApi;
    // Wait until the processes know each other.
    await until(async () => (await other.query('SELECT 1 FROM gateway')).length === 2);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    return { where, child, exited };
  };

  const join = async (api: TestApi, instance: string): Promise<ScriptedWorker> => {
    const worker = await new ScriptedWorker(api, { instance }).connect();
    workers.push(worker);
    return worker;
  };

  const ask = { model: 'tiny', messages: [{ role: 'user' as const, content: 'hello?' }] };
  const stream = async (
    { url }: TestApi,
    path = 'chat/completions',
    body: object = ask,
  ): Promise<{ readonly text: string }> => {
    const response = await fetch(`${url}/v1/${path}`, {
      method: 'POST',
      headers: { ...other.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ ...body, stream: true }),
    });
    const read = { text: '' };
    void (async () => {
      for await (const bytes of response.body ?? []) read.text += Buffer.from(bytes).toString();
      read.text += '(end)';
    })();
    return read;
  };

  it('completes its answers, and moves its worker to the other process, where chats continue', async () => {
    const { where, child, exited } = await start(20);
    const instance = randomUUID();
    const worker = await join(where, instance);
    const streaming = stream(where);
    const { id } = await worker.nextRequest();
    worker.sendText(id, 'a', '');
    const read = await streaming;
    await until(() => read.text.includes('"content":"a"'));

    child.kill('SIGTERM');
    await until(() => worker.isRedirected);
    const ready = await fetch(`${where.url}/readyz`);
    expect([ready.status, await ready.json()]).toMatchObject([503, { process: 'stopping' }]);
    // The worker has not reconnected yet.
    const relayed = other.client.chat.completions.create(ask);
    worker.sendText((await worker.nextRequest()).id, 'still here');
    expect((await relayed).choices[0]?.message.content).toBe('still here');

    const moved = await join(other, instance);
    const elsewhere = other.client.chat.completions.create(ask);
    moved.sendText((await moved.nextRequest()).id, 'here now');
    expect((await elsewhere).choices[0]?.message.content).toBe('here now');

    // Load balancers have noticed by then.
    await until(async () => {
      const { status } = await fetch(`${where.url}/v1/models`, { headers: other.headers });
      return status === 503;
    });
    worker.sendText(id, 'b', '');
    worker.sendText(id, 'c');
    await until(() => read.text.endsWith('(end)'));
    expect(read.text).toMatch(/"content":"b".*"content":"c".*data: \[DONE\]\n\n\(end\)$/s);
    expect(await exited).toBe(0);
    expect(moved.ended).toBeNull();
  }, 90_000);

  it('ends streams with an error event after drain-seconds', async () => {
    const { where, child, exited } = await start(1);
    const worker = await join(where, randomUUID());
    const streaming = stream(where);
    worker.sendText((await worker.nextRequest()).id, 'a', '');
    const read = await streaming;
    await until(() => read.text.includes('"content":"a"'));
    child.kill('SIGTERM');
    await until(() => read.text.endsWith('(end)'));
    const last = read.text.trimEnd().split('\n\n').at(-2) ?? '';
    expect(JSON.parse(last.replace('data: ', ''))).toMatchObject({
      error: { code: 'unavailable', message: 'this API process is stopping; try again' },
    });
    expect(await exited).toBe(0);
  }, 90_000);

  it('ends streams of responses with an error event, too', async () => {
    const { where, child, exited } = await start(1);
    const worker = await join(where, randomUUID());
    const streaming = stream(where, 'responses', { model: 'tiny', input: 'hello?' });
    worker.sendText((await worker.nextRequest()).id, 'a', '');
    const read = await streaming;
    await until(() => read.text.includes('"delta":"a"'));
    child.kill('SIGTERM');
    await until(() => read.text.endsWith('(end)'));
    const events = read.text.split('\n\n').flatMap((one) => one.match(/^data: (.*)$/m)?.[1] ?? []);
    expect(events.slice(-2).map((one) => JSON.parse(one) as object)).toMatchObject([
      { type: 'error', code: 'unavailable', message: 'this API process is stopping; try again' },
      {
        type: 'response.failed',
        response: { status: 'failed', output: [{ status: 'incomplete' }] },
      },
    ]);
    const stored = await other.query<{ response: object }>('SELECT response FROM response');
    expect(stored).toMatchObject([{ response: { status: 'failed' } }]);
    expect(await exited).toBe(0);
  }, 90_000);
});
