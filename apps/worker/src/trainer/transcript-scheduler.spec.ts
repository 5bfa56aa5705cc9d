// Concurrent transcription requests, on a real base.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TranscribeRequest } from '@graft/contracts';
import { answersTo, BARE_BASE, loadBase, setThreads, taskFor } from '@graft/peft-core';
import type { Base } from '@graft/peft-core';
import { decodeAudio, resample } from '@graft/peft-core/media';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { dataUrl } from '../../../../test/tiny-images.js';
import { tone, writeTinySpeechBase } from '../../../../test/tiny-audio.js';
import { collecting, type FlatAnswer } from '../../test/flat-answers.js';
import type { AskCommand } from '../protocol/protocol.js';
import { AttachedAdapters } from './attached-adapters.js';
import type { Decode, DecodedAudio, AudioFile, DecodeRequest } from './audio-decoder.js';
import { TranscriptScheduler } from './transcript-scheduler.js';
import { WorkMark } from './work-mark.js';

let dir: string;
let base: Base;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-transcripts-'));
  base = loadBase(writeTinySpeechBase(join(dir, 'base')), { dtype: 'f32', quantization: null });
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const task = taskFor('speech_seq_2_seq');
const options = task.options.parse({}) as Record<string, unknown>;
const PARAMETERS = { language: null, prompt: null, temperature: 0, seed: 1, segments: false };

function ask(
  id: string,
  audio: Buffer,
  { cacheBytes, ...changes }: Partial<TranscribeRequest> & { cacheBytes?: number } = {},
): AskCommand<'transcribe'> {
  const file = join(dir, `${id}.wav`);
  writeFileSync(file, audio);
  return {
    type: 'ask',
    kind: 'transcribe',
    id,
    payload: { task: 'speech_seq_2_seq', options, ...PARAMETERS, ...changes },
    file,
    adapter: null,
    ...(cacheBytes !== undefined && { cacheBytes }),
  };
}

const bytesOf = ({ clips }: DecodeRequest): Buffer[] =>
  clips.map((clip) => readFileSync((clip as AudioFile).file));

const decodeHere = (request: DecodeRequest): Promise<readonly DecodedAudio[]> =>
  Promise.resolve(
    bytesOf(request).map((bytes) => {
      const { samples, samplingRate: from, values } = decodeAudio(bytes);
      return { samples: resample(samples, from, request.samplingRate), values };
    }),
  );

function scheduler(decode: Decode = decodeHere, maxDecodedBytes = Infinity) {
  const facts: FlatAnswer[] = [];
  let woken = 0;
  const it = new TranscriptScheduler(base, new AttachedAdapters(base), {
    send: collecting(facts),
    mark: new WorkMark(null),
    wake: () => void woken++,
    decode,
    maxDecodedBytes,
  });
  const of = (id: string) => facts.filter((fact) => fact.id === id);
  const text = (id: string): string => of(id).map((fact) => fact.text).join(''); // prettier-ignore
  /** Waits until the audio of this many requests is decoded. */
  const decoded = (count: number) => expect.poll(() => woken).toBe(count);
  const all = (): void => {
    while (it.busy) it.work(0);
  };
  return { it, facts, of, text, decoded, all };
}

/** Transcribes in a separate forward pass. */
function alone(audio: Buffer): string {
  const infer = task.infer!;
  const record = infer.record(dataUrl(audio, 'audio/wav'));
  const how = { maxSeqLen: 1000, vocabSize: base.model.vocabSize, taskOptions: options };
  const examples = infer.encode([record], base.processor, how).map(({ example }) => example);
  const [answer] = answersTo(infer, base.model, [{ run: BARE_BASE, examples, options }]);
  return (answer as { text: string }).text;
}

it('streams the same transcript token by token', async () => {
  const { it: transcripts, of, text, decoded, all } = scheduler();
  const clips = [tone('low', 0, 0.8), tone('high', 1, 0.5)] as const;
  transcripts.start(ask('a', clips[0]));
  transcripts.start(ask('b', clips[1]));
  expect(transcripts.busy).toBe(false);
  await decoded(2);
  all();
  expect([text('a'), text('b')]).toEqual(clips.map(alone));
  expect(of('a').length).toBeGreaterThan(3);
  const last = of('a').at(-1);
  expect(last).toMatchObject({ last: true, errorCode: null });
  expect(last?.sound).toEqual({ seconds: expect.closeTo(0.8, 2) as number, language: null });
  expect(last?.completion_tokens).toBeGreaterThan(3);
});

it('alternates between requests after each forward pass', async () => {
  const { it: transcripts, facts, decoded } = scheduler();
  transcripts.start(ask('a', tone('low', 0, 0.8)));
  await decoded(1);
  transcripts.work(0);
  expect(facts.length).toBeLessThanOrEqual(1);
  expect(transcripts.busy).toBe(true);
  transcripts.cancel('a');
  expect(transcripts.busy).toBe(false);
});

it('opens as many requests as fit in memory', async () => {
  const { it: transcripts, of, text, decoded, all } = scheduler();
  const audio = tone('middle', 2, 0.8);
  transcripts.start(ask('a', audio, { cacheBytes: 1 }));
  transcripts.start(ask('b', audio, { cacheBytes: 1 }));
  await decoded(2);
  transcripts.work(0);
  transcripts.work(0);
  expect(of('b')).toEqual([]);
  all();
  expect([text('a'), text('b')]).toEqual([alone(audio), alone(audio)]);
});

it('limits decoded audio, and continues when a request completes or is canceled', async () => {
  const { it: transcripts, text, decoded, all } = scheduler(decodeHere, 1);
  const audio = tone('middle', 2, 0.8);
  for (const id of ['a', 'b', 'c', 'd']) transcripts.start(ask(id, audio));
  await decoded(1);
  transcripts.cancel('b');
  transcripts.cancel('a');
  await decoded(2);
  expect(transcripts.busy).toBe(true);
  all();
  expect([text('a'), text('b'), text('c'), text('d')]).toEqual(['', '', alone(audio), '']);
  await decoded(3);
  all();
  expect(text('d')).toBe(alone(audio));
});

it('sends nothing for a request that was canceled during decoding', async () => {
  const signals: AbortSignal[] = [];
  const {
    it: transcripts,
    facts,
    all,
  } = scheduler((_order, signal) => {
    signals.push(signal);
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))); // prettier-ignore
  });
  transcripts.start(ask('a', tone('low', 0)));
  transcripts.cancel('a');
  await expect.poll(() => signals[0]?.aborted).toBe(true);
  all();
  expect(facts).toEqual([]);
});

it('reports invalid audio, options and tasks', async () => {
  const {
    it: transcripts,
    of,
    decoded,
    all,
  } = scheduler((request) =>
    bytesOf(request)[0]!.length < 50
      ? Promise.resolve([{ problem: 'the audio cannot be decoded: expected WAV or FLAC, got MP3' }])
      : decodeHere(request),
  );
  const audio = tone('low', 0, 0.8);
  const wishes = [
    [{ segments: true }, /no timestamp tokens; set response_format to json or text/],
    [{ language: 'de' }, /language: the base does not support de; expected en, or remove it/],
    [{ prompt: 'Graft' }, /prompt: the base does not support prompts/],
  ] as const;
  for (const [i, [wish]] of wishes.entries()) transcripts.start(ask(`wish ${i}`, audio, wish));
  transcripts.start(ask('mp3', Buffer.from('ID3')));
  transcripts.start(ask('labels', audio, { task: 'audio_cls' }));
  await decoded(5);
  all();
  for (const [i, [, message]] of wishes.entries())
    expect(of(`wish ${i}`)).toMatchObject([
      { last: true, errorMessage: expect.stringMatching(message) as string },
    ]);
  expect(of('mp3')).toMatchObject([
    { errorCode: 'invalid_value', errorMessage: expect.stringMatching(/^file: .*got MP3/) as string }, // prettier-ignore
  ]);
  expect(of('labels')).toMatchObject([{ errorCode: 'unsupported' }]);
});
