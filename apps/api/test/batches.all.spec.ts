// The largest batch, whose API process is killed twice.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import OpenAI, { toFile } from 'openai';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, until, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

const LINES = 50_000;
const MAIN = fileURLToPath(new URL('process.mjs', import.meta.url));

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ leaseMs: 3_000 });
  await importBase(api);
});
afterAll(() => api?.close());

/** Starts another API process on the same database. */
async function another(): Promise<{ child: ChildProcess; client: OpenAI }> {
  const child = spawn(process.execPath, [MAIN, JSON.stringify(api.config)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (text: Buffer) => (out += text.toString()));
  await until(() => out.includes('\n'), 60_000);
  const { url } = JSON.parse(out.slice(out.indexOf('{'))) as { url: string };
  return { child, client: new OpenAI({ baseURL: `${url}/v1`, apiKey: api.apiKey }) };
}

it('answers 50,000 lines exactly once, although two API processes are killed', async () => {
  const worker = await new ScriptedWorker(api, { maxChats: 128 }).connect();
  const vector = Buffer.from(Float32Array.of(0.5, 1).buffer).toString('base64');
  let served = 0;
  const serving = setInterval(() => {
    for (; served < worker.requests.length; served++)
      worker.reply(worker.requests[served]!.id, { answers: [vector], prompt_tokens: 3 });
  }, 5);
  const lines = Array.from({ length: LINES }, (_, i) =>
    JSON.stringify({
      custom_id: `line-${i}`,
      method: 'POST',
      url: '/v1/embeddings',
      body: { model: 'tiny', input: `text ${i}` },
    }),
  );
  const children: ChildProcess[] = [];
  try {
    const completed = async (): Promise<number> =>
      (await api.query<{ completed: number }>('SELECT completed FROM batch'))[0]!.completed;
    let id = '';
    for (const kill of [LINES / 5, (2 * LINES) / 5]) {
      const { child, client } = await another();
      children.push(child);
      if (id === '') {
        const file = await toFile(Buffer.from(lines.join('\n')), 'requests.jsonl');
        const { id: input } = await client.files.create({ file, purpose: 'batch' });
        const window = { endpoint: '/v1/embeddings', completion_window: '24h' } as const;
        ({ id } = await client.batches.create({ input_file_id: input, ...window }));
      } else await api.query('UPDATE batch SET owner_until = clock_timestamp()');
      await until(async () => (await completed()) >= kill, 900_000);
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    const { client } = api;
    let batch = await client.batches.retrieve(id);
    await until(
      async () => (batch = await client.batches.retrieve(id)).status === 'completed',
      1_800_000,
    );
    expect(batch.request_counts).toEqual({ total: LINES, completed: LINES, failed: 0 });
    const text = await (await client.files.content(batch.output_file_id!)).text();
    const ids = text
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { custom_id: string }).custom_id);
    expect(ids).toEqual(lines.map((_, i) => `line-${i}`));
    // Only lines that were in progress at a kill were sent twice.
    expect(worker.requests.length).toBeLessThanOrEqual(LINES + 2 * 64);
  } finally {
    clearInterval(serving);
    for (const child of children) child.kill('SIGKILL');
    worker.vanish();
  }
}, 3_600_000);
