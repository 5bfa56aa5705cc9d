import { decodeAudio, MAX_SOUND_VALUES } from '@graft/peft-core/media';
import { expect, it } from 'vitest';
import { dataUrl } from '../../../../test/tiny-images.js';
import { tone } from '../../../../test/tiny-audio.js';
import type { AskCommand, Fact } from '../protocol/protocol.js';
import { AudioInputs } from './audio-inputs.js';
import type { Decode } from './audio-decoder.js';

const RATE = 16_000;
const samples = Float32Array.from([0, 0.25, -0.5]);

function decoding(decode: Decode) {
  const started: AskCommand<'infer'>[] = [];
  const facts: Fact[] = [];
  let woken = 0;
  const it = new AudioInputs({
    decode,
    start: (command) => void started.push(command),
    send: (fact) => void facts.push(fact),
    wake: () => void woken++,
  });
  return { it, started, facts, done: () => expect.poll(() => woken).toBe(1) };
}

const ask = (...clips: readonly Buffer[]): AskCommand<'infer'> => ({
  type: 'ask',
  kind: 'infer',
  id: 'a',
  payload: {
    task: 'audio_cls',
    options: {},
    inputs: clips.map((clip) => ({ audio: dataUrl(clip, 'audio/wav') })),
  },
  adapter: null,
  file: null,
});

it('sends the decoded samples of each input, in order', async () => {
  const orders: number[][] = [];
  const {
    it: inputs,
    started,
    facts,
    done,
  } = decoding(({ clips, samplingRate }) => {
    expect(samplingRate).toBe(RATE);
    orders.push(clips.map((clip) => (clip as Uint8Array).length));
    return Promise.resolve(
      clips.map((_, i) => ({ samples: samples.map((value) => value / (i + 1)), values: 3 })),
    );
  });
  const [low, high] = [tone('low', 0), tone('high', 2)];
  inputs.start(ask(low, high), RATE);
  await done();
  // One request, since a thread per file would take longer than decoding it.
  expect(orders).toEqual([[low.length, high.length]]);
  expect(facts).toEqual([]);
  const decoded = started[0]!.payload.inputs.map(({ audio }) => {
    const url = audio as string;
    return decodeAudio(Buffer.from(url.slice(url.indexOf(',') + 1), 'base64'));
  });
  expect(decoded.map((one) => [...one.samples])).toEqual([
    [0, 0.25, -0.5],
    [0, 0.125, -0.25],
  ]);
  expect(decoded[0]?.samplingRate).toBe(RATE);
});

it('names the audio that cannot be decoded, and rejects audio above the limit', async () => {
  const broken = decoding(({ clips }) =>
    Promise.resolve(
      clips.map((clip) =>
        (clip as Uint8Array).length < 9 ? { problem: 'no sound' } : { samples, values: 3 },
      ),
    ),
  );
  broken.it.start(ask(tone('low', 0), Buffer.from('none')), RATE);
  await broken.done();
  expect(broken.started).toEqual([]);
  expect(broken.facts).toMatchObject([
    { errorCode: 'invalid_value', errorMessage: 'input 1: no sound' },
  ]);
  const long = decoding(({ clips }) =>
    Promise.resolve(clips.map(() => ({ samples, values: MAX_SOUND_VALUES / 2 + 1 }))),
  );
  long.it.start(ask(tone('low', 0), tone('low', 2)), RATE);
  await long.done();
  expect(long.facts).toMatchObject([
    { errorMessage: expect.stringContaining('too long') as string },
  ]);
});

it('sends nothing for a canceled request', async () => {
  const {
    it: inputs,
    started,
    facts,
    done,
  } = decoding(
    (_, signal) =>
      new Promise((resolve) =>
        signal.addEventListener('abort', () => resolve([{ samples, values: 3 }])),
      ),
  );
  inputs.start(ask(tone('low', 0)), RATE);
  await Promise.resolve();
  inputs.cancel('a');
  await done();
  expect([started, facts]).toEqual([[], []]);
});
