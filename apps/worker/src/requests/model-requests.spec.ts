// Limits of model requests of a worker, with the small trainer.
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelRequest } from '@graft/contracts/grpc';
import { expect, it } from 'vitest';
import { until } from '../../test/control-plane.js';
import { useScene } from '../../test/scene.js';
import { canMount, SmallDisk } from '../../../../test/small-disk.js';

const scene = useScene();

/** Generates a word in 20 ms. */
function ask(id: string, words = 5, more: Partial<ModelRequest> = {}): void {
  const content = Array.from({ length: words }, () => 'word').join(' ');
  scene.plane.chat(id, content, {}, { baseDtype: '', ...more });
}

const end = (id: string) => scene.plane.chunks.find((chunk) => chunk.id === id && chunk.last);
const cancel = (id: string) => scene.plane.send({ $case: 'cancelModelRequest', value: { id } });

it('processes maxChats requests at a time, queues twice as many, and rejects more with the reason', async () => {
  await scene.startAgent({ maxChats: 1 });
  await scene.pulled();
  expect(scene.plane.pulls[0]).toMatchObject({ freeChats: 1 });
  for (const id of ['first', 'second', 'third', 'fourth']) ask(id, 40);
  expect(await until('the fourth to be refused', () => end('fourth'))).toMatchObject({
    last: true,
    errorCode: 'queue_full',
    errorMessage: 'this worker processes 1 request at a time and 2 are waiting; try again later',
  });
  await until('the first to begin', () => scene.plane.chunks.some(({ id }) => id === 'first'));
  cancel('second');
  await until('the first to end', () => end('first'));
  await until('the third to end', () => end('third'));
  expect(end('second')).toBeUndefined();
  const order = scene.plane.chunks.filter(({ text }) => text).map(({ id }) => id);
  expect(order).toEqual([...order].sort((a, b) => Number(b === 'first') - Number(a === 'first')));
  await until('it to report a free slot', () => scene.plane.pulls.at(-1)?.freeChats === 1);
  ask('fifth');
  expect(await until('the fifth to end', () => end('fifth'))).toMatchObject({ errorCode: '' });
});

it('reports an adapter that cannot be fetched as an I/O error', async () => {
  await scene.startAgent({ maxChats: 1 });
  await scene.pulled();
  const adapter = [{ name: 'adapter.safetensors', sha256: '0'.repeat(64), size: 1 }];
  ask('chat', 5, { adapter });
  expect(await until('the chat to end', () => end('chat'))).toMatchObject({
    errorCode: 'io_error',
    errorMessage: expect.stringContaining('NOT_FOUND') as unknown,
  });
});

it('reserves no memory for a request that never started', async () => {
  const bytes = 1e9;
  await scene.startAgent({}, { freeMemory: () => bytes, totalMemory: () => bytes });
  await scene.pulled();
  ask('broken', 1, { payload: Buffer.from('{') });
  await until('its refusal', () => end('broken'));
  // Nearly all memory that the base leaves.
  scene.plane.assign({
    jobId: 'job',
    plan: { steps: 5, needs: 0.7e9 },
    spec: { base_dtype: 'bf16' },
  });
  await until('the run to finish', () => scene.plane.fact('finished', 'job'));
});

/** Requests a transcript of an audio file whose bytes follow. */
const hear = (id: string, mediaBytes: number): void =>
  scene.plane.ask(
    id,
    'transcribe',
    {
      task: 'speech_seq_2_seq',
      options: {},
      ...{ language: null, prompt: null, temperature: 0, seed: 1, segments: false },
    },
    { baseDtype: '', mediaBytes },
  );
const send = (id: string, data: Uint8Array) =>
  scene.plane.send({ $case: 'askedMedia', value: { id, data } });
const MIB = 1 << 20;
const storedFiles = (): number =>
  readdirSync(join(scene.home, 'runs')).filter((name) => name.startsWith('asked')).length;

it('assembles interleaved audio files and removes them after the requests', async () => {
  await scene.startAgent();
  await scene.pulled();
  const sounds = { a: 1, b: 2 };
  const pieces = (of: number) => [70_000, 1, 9999].map((length) => Buffer.alloc(length, of));
  for (const id of ['a', 'b']) hear(id, 80_000);
  for (const i of [0, 1, 2])
    for (const [id, of] of Object.entries(sounds)) send(id, pieces(of)[i] as Buffer);
  for (const [id, of] of Object.entries(sounds)) {
    const sum = createHash('sha256')
      .update(Buffer.concat(pieces(of)))
      .digest('hex');
    expect(await until(`${id} to end`, () => end(id))).toMatchObject({ text: sum });
  }
  await until('the files to go', () => storedFiles() === 0);
});

it('rejects audio above its limit until a request ends', async () => {
  await scene.startAgent();
  await scene.pulled();
  hear('first', 200 * MIB);
  hear('second', 57 * MIB);
  expect(await until('the second to be refused', () => end('second'))).toMatchObject({
    errorCode: 'queue_full',
    errorMessage:
      'this worker already stores 209,715,200 bytes of images and audio of requests, of at most 268,435,456; try again later',
  });
  // Chunks of the rejected request are ignored, and chats continue.
  send('second', Buffer.alloc(9));
  ask('chat', 1);
  expect(await until('the chat to end', () => end('chat'))).toMatchObject({ errorCode: '' });
  cancel('first');
  await until('its file to go', () => storedFiles() === 0);
  hear('third', 200 * MIB);
  hear('fourth', 3);
  send('fourth', Buffer.from('abc'));
  expect(await until('the fourth to end', () => end('fourth'))).toMatchObject({ errorCode: '' });
  hear('fifth', 3);
  send('fifth', Buffer.from('abcd'));
  expect(await until('the fifth to end', () => end('fifth'))).toMatchObject({
    errorMessage: 'the file is larger than announced',
  });
  expect(end('third')).toBeUndefined();
});

it.skipIf(!canMount)(
  'reports a full disk and accepts the next audio once there is space',
  async () => {
    await scene.startAgent();
    await scene.pulled();
    const disk = SmallDisk.mount(join(scene.home, 'runs'), 2);
    try {
      disk.fill(MIB);
      hear('large', 2 * MIB);
      for (let i = 0; i < 4; i++) send('large', Buffer.alloc(MIB / 2));
      expect(await until('it to be refused', () => end('large'))).toMatchObject({
        errorCode: 'disk_full',
        errorMessage: "the worker's disk is full; try again later",
      });
      await until('what was written of it to go', () => storedFiles() === 0);
      hear('small', 3);
      send('small', Buffer.from('abc'));
      expect(await until('the small one to end', () => end('small'))).toMatchObject({
        errorCode: '',
      });
    } finally {
      await Promise.all(scene.agents.splice(0).map((agent) => agent.close()));
      disk.unmount();
    }
  },
);
