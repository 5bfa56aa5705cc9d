// Workers remove deleted files from their caches, too.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, it, onTestFailed } from 'vitest';
import { Installation, until, type Program } from './installation.js';

let graft: Installation;
let worker: Program;
beforeAll(async () => {
  graft = await Installation.start();
  worker = graft.startWorker('a', '--slots', '1');
  await graft.importTinyBase();
}, 120_000);
afterAll(() => graft?.stop());

const cached = (): string[] => readdirSync(join(graft.workerHome('a'), 'cache', 'blobs'));

it('a worker deletes its copy of a training file that was deleted while it was offline, and no other', async () => {
  onTestFailed(() => console.error(graft.tails()));
  const [doomed, kept] = [await graft.uploadChats(20), await graft.uploadChats(24)];
  const names = [20, 24].map((count) =>
    createHash('sha256')
      .update(readFileSync(join(graft.dir, `chats-${count}.jsonl`)))
      .digest('hex'),
  );
  for (const training_file of [doomed, kept]) {
    const { id } = await graft.createJob({
      model: 'tiny',
      training_file,
      peft: { peft_type: 'LORA', r: 2, target_modules: ['q_proj'] },
      graft: { max_steps: 2, learning_rate: 0.01 },
    });
    await graft.succeeded(id, 120_000);
  }
  const before = cached();
  expect(before).toEqual(expect.arrayContaining(names));
  worker.child.kill('SIGTERM');
  expect(await worker.exited).toBe(0);
  await graft.openai.files.delete(doomed);
  const again = graft.startWorker('a', '--slots', '1');
  // The worker logs this when it has checked its whole cache.
  await until(
    'the look to end',
    () => again.tail().includes('removed deleted blobs from the cache'),
    60_000,
  );
  expect(cached().sort()).toEqual(before.filter((name) => name !== names[0]).sort());
}, 300_000);
