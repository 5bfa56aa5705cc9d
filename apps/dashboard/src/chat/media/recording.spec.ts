import { MAX_REQUEST_MEDIA_BYTES } from '@graft/contracts/limits';
import { decodeAudio } from '@graft/peft-core/media';
import { expect, it, vi } from 'vitest';
import { MAX_SECONDS, wavOf, type RecordedPiece } from './recording.js';

it('encodes a WAV file and clips samples that are too loud', () => {
  const file = wavOf([Float32Array.from([0, 0.5]), Float32Array.from([-2])], 16_000);
  const { samples, samplingRate } = decodeAudio(new Uint8Array(file));
  expect(samplingRate).toBe(16_000);
  expect([...samples].map((value) => Math.round(value * 1000) / 1000)).toEqual([0, 0.5, -1]);
});

it('never exceeds the length that the API accepts', () => {
  expect(MAX_SECONDS).toBe(599);
  // Excess of the last chunk.
  const length = 16_000 * MAX_SECONDS + 2047;
  expect(length).toBeLessThanOrEqual(16_000 * 600);
  expect(44 + 2 * length).toBeLessThanOrEqual(MAX_REQUEST_MEDIA_BYTES);
});

it('sends an incomplete chunk on request, and continues afterwards', async () => {
  interface Recorder {
    readonly port: { onmessage: () => void };
    process(inputs: readonly (readonly Float32Array[])[]): boolean;
  }
  const handed: RecordedPiece[] = [];
  let Processor: (new () => Recorder) | undefined;
  vi.stubGlobal(
    'AudioWorkletProcessor',
    class {
      readonly port = { postMessage: (piece: RecordedPiece) => void handed.push(piece) };
    },
  );
  vi.stubGlobal('registerProcessor', (_: string, of: new () => Recorder) => (Processor = of));
  await import('./recorder-worklet.js');
  vi.unstubAllGlobals();
  const recorder = new (Processor as new () => Recorder)();
  // Browsers provide 128 samples at a time.
  for (let at = 0; at < 2304; at += 128)
    recorder.process([[Float32Array.from({ length: 128 }, (_, i) => at + i)]]);
  expect(handed.map(({ samples, isLast }) => [samples.length, isLast])).toEqual([[2048, false]]);
  recorder.port.onmessage();
  recorder.process([[Float32Array.of(9)]]);
  recorder.port.onmessage();
  expect(handed.slice(1).map(({ isLast }) => isLast)).toEqual([true, true]);
  expect(handed.flatMap(({ samples }) => [...samples])).toEqual([...Array(2304).keys(), 9]);
});
