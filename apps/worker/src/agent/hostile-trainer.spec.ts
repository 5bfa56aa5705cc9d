import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../test/control-plane.js';
import { useScene } from '../../test/scene.js';

const scene = useScene();
const SECRET = 'what no trainer may read';
const ref = {
  name: 'secret.txt',
  sha256: createHash('sha256').update(SECRET).digest('hex'),
  size: SECRET.length,
};
let elsewhere: string;

beforeEach(() => {
  elsewhere = join(scene.home, 'elsewhere');
  mkdirSync(elsewhere);
  writeFileSync(join(elsewhere, ref.name), SECRET, { mode: 0o600 });
});

/** Runs a job in a trainer that sends these facts. Returns the end of the job. */
async function claim(claims: object[], links: Record<string, string> = {}) {
  await scene.startAgent();
  await scene.pulled();
  scene.plane.assign({ plan: { claims, links } });
  return until('the end', () => scene.plane.fact('failed') ?? scene.plane.fact('finished'));
}

/** Checks that the file outside was neither changed nor uploaded. */
function untouched(): void {
  const path = join(elsewhere, ref.name);
  expect(existsSync(path)).toBe(true);
  expect(readFileSync(path, 'utf8')).toBe(SECRET);
  expect(statSync(path)).toMatchObject({ mode: 0o100600, nlink: 1 });
  expect(scene.plane.puts).toEqual([]);
  expect(readdirSync(join(scene.home, 'cache', 'blobs'))).not.toContain(ref.sha256);
}

const event = (kind: string, payload: object) => ({ kind, payload });
const saved = (part: object) =>
  event('saved', { step: 1, files: [], adapter: [], best: false, ...part });
const failure = { code: 'crash', message: 'over', param: null, retryable: true };
const END = event('failed', failure);
const result = {
  step: 1,
  published_step: 1,
  adapter: [ref],
  trained_tokens: 1,
  forgetting: null,
};
const FINISHED = event('finished', result);

describe('a hostile trainer', () => {
  it('names a folder outside: nothing in it is deleted', async () => {
    await claim([saved({ dir: elsewhere }), END]);
    untouched();
  });

  it('names files outside: they are not read, stored or changed', async () => {
    await claim([saved({ dir: elsewhere, files: [ref], adapter: [ref] }), END]);
    untouched();
    expect(scene.plane.fact('saved')).toBeUndefined();
    expect(scene.plane.fact('log')?.message).toContain('a checkpoint could not be uploaded');
  });

  it('replaces its checkpoint by a link to a folder outside: the folder is not read or emptied', async () => {
    await claim([saved({ files: [ref] }), saved({ step: 2 }), END], {
      'checkpoint-1': elsewhere,
      'checkpoint-2': elsewhere,
    });
    untouched();
    expect(scene.plane.fact('saved')).toBeUndefined();
  });

  it('replaces its adapter by a link to a folder outside, or names one: the job fails', async () => {
    const failed = await claim([event('finished', { ...result, dir: elsewhere })], {
      adapter: elsewhere,
    });
    expect(failed).toMatchObject({ code: 'io_error' });
    untouched();
  });

  it('sends paths as file names and strings as steps', async () => {
    const path = `../../../../elsewhere/${ref.name}`;
    await claim([
      saved({ files: [{ ...ref, name: path }] }),
      saved({ files: [{ ...ref, sha256: '../../elsewhere/planted' }] }),
      saved({ step: '1/../../../../elsewhere', files: [ref] }),
      END,
    ]);
    untouched();
    expect(existsSync(join(elsewhere, 'planted'))).toBe(false);
  });

  const started = {
    total_steps: 9,
    training_examples: 1,
    trainable_parameters: 1,
    total_parameters: 1,
  };
  const size = (value: unknown) => [{ ...ref, size: value }];
  const frame = (fact: unknown) => ({ raw: JSON.stringify(fact) });
  const key = { jobId: 'job-1', attempt: 1 };
  it.each([
    ['null', frame(null), 'invalid fact: '],
    ['a list', frame([]), 'invalid fact: '],
    ['a fact of no kind', frame({ type: 'constructor' }), 'invalid fact: type: '],
    ['a log of an object', frame({ type: 'log', level: 'warn', message: {} }), '"log": message: '],
    [
      'an event of no run',
      frame({ type: 'event', kind: 'log', payload: '{}' }),
      '"event": jobId: ',
    ],
    [
      'an event that is not JSON',
      frame({ type: 'event', ...key, kind: 'log', payload: '{' }),
      'log: ',
    ],
    ['an event of no kind', event('constructor', {}), 'unknown event kind "constructor"'],
    ['a checkpoint without files', event('saved', { step: 1 }), 'saved.files: '],
    ['a checkpoint at 1e300', saved({ step: 1e300 }), 'saved.step: '],
    ['a file of negative size', saved({ files: size(-1) }), 'saved.files.0.size: '],
    ['a file of no whole size', saved({ files: size(1.5) }), 'saved.files.0.size: '],
    ['an adapter without names', saved({ adapter: [{}] }), 'saved.adapter.0.name: '],
    ['a start at 1e300', event('started', { ...started, from_step: 1e300 }), 'started.from_step: '],
    [
      'an end of negative size',
      event('finished', { ...result, adapter: size(-1) }),
      'finished.adapter.0.size: ',
    ],
    [
      'an end without files',
      event('finished', { ...result, adapter: undefined }),
      'finished.adapter: ',
    ],
    [
      'a failure without a message',
      event('failed', { ...failure, message: undefined }),
      'failed.message: ',
    ],
    ['a stop for no reason', event('stopped', { step: 1 }), 'stopped.reason: '],
  ])(
    'sends %s: it is killed, its run fails, and a run in another trainer continues',
    async (_, fact, complaint) => {
      await scene.startAgent();
      await scene.pulled();
      const other = { id: 'base-b', nameOrPath: 'base-b' };
      const files = [scene.plane.blob('base.txt', 'weights of base b')];
      const plan = { steps: 60, stepMs: 10 };
      scene.plane.assign({ jobId: 'honest', plan, base: { ...other, files } });
      await until('its first step', () => scene.plane.fact('step', 'honest'));
      scene.plane.assign({ plan: { claims: [fact, END, FINISHED] } });
      const failed = await until('the end', () => scene.plane.fact('failed'));
      expect(failed).toMatchObject({ code: 'crash', retryable: true });
      expect(failed.stderr_tail).toContain(complaint);
      await until('the other run', () => scene.plane.fact('finished', 'honest'));
      await until('no lease', () => scene.plane.heartbeats.at(-1)?.leases.length === 0);
      expect(scene.plane.hellos).toHaveLength(1);
    },
  );

  const piece = { text: 'hello', finish_reason: 'stop', prompt_tokens: 1, completion_tokens: 1 };
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  const withDeep = JSON.stringify(piece).replace('{', `{"deep":${nested(100_000)},`);
  const withLarge = JSON.stringify(piece).replace(
    '{',
    `{"large":[${Array(200_000).fill('1e20').join()}],`,
  );
  const ask = (id: string, answer: object): void => scene.plane.chat(id, JSON.stringify(answer));
  const end = (id: string) =>
    until(`${id} to end`, () => scene.plane.chunks.find((chunk) => chunk.id === id && chunk.last));
  const inferred = JSON.stringify({ answers: [1], prompt_tokens: 1 });

  it.each([
    ['an object', { piece }],
    ['no JSON', { piece: '{' }],
    ['one of another kind', { piece: inferred }],
    ['one without its count', { piece: JSON.stringify({ ...piece, prompt_tokens: null }) }],
  ])(
    'sends a response chunk that is %s: only this trainer and its requests end',
    async (_, answer) => {
      await scene.startAgent();
      await scene.pulled();
      ask('hostile', { ...answer, last: true });
      expect(await end('hostile')).toMatchObject({
        errorCode: 'unavailable',
        errorMessage: expect.stringContaining('the trainer exited during the request') as unknown,
      });
      scene.plane.chat('honest', 'word');
      expect(await end('honest')).toMatchObject({ errorCode: '', text: 'word' });
      expect(scene.plane.hellos).toHaveLength(1);
    },
  );

  it.each([
    ['deep', withDeep],
    ['as large as a frame may be', withLarge],
  ])('sends an unknown response field that is %s: it is forwarded unchanged', async (_, text) => {
    await scene.startAgent();
    await scene.pulled();
    ask('hostile', { piece: text, last: true });
    expect(await end('hostile')).toMatchObject({ errorCode: '', text: 'hello' });
    expect(scene.plane.hellos).toHaveLength(1);
  });

  it('sends an error that is not marked as last: the response ends', async () => {
    await scene.startAgent({ maxChats: 1 });
    await scene.pulled();
    ask('hostile', { errorCode: 'crash', errorMessage: 'it broke' });
    expect(await end('hostile')).toMatchObject({ errorCode: 'crash', errorMessage: 'it broke' });
    scene.plane.chat('honest', 'word');
    expect(await end('honest')).toMatchObject({ errorCode: '', text: 'word' });
  });

  it.each(['of_a_newer_build', 'constructor'])(
    'fails to load a base with the unknown code %s: the run fails and is not retried',
    async (code) => {
      await scene.startAgent();
      await scene.pulled();
      const files = [scene.plane.blob('code.txt', code)];
      scene.plane.assign({ plan: {}, base: { id: 'base-c', nameOrPath: 'base-c', files } });
      const failed = await until('the end', () => scene.plane.fact('failed'));
      expect(failed).toMatchObject({ code, message: 'no base.txt', retryable: false });
    },
  );
});
