import { expect, it } from 'vitest';
import wavefile from 'wavefile';
import { AudioProcessor } from './audio-processor.js';
import { readSounds } from './sounds.js';

const audio = new AudioProcessor(
  { feature_extractor_type: 'Wav2Vec2FeatureExtractor', sampling_rate: 8000, do_normalize: false },
  ([samples = 0]) => samples,
);

/** Of two channels. */
function sound(samples: number, level: number): Uint8Array {
  const wav = new wavefile.WaveFile();
  const channel = new Int16Array(samples).fill(level);
  wav.fromScratch(2, 8000, '16', [channel, channel]);
  return wav.toBuffer();
}

it('stops decoding where a question has more than may keep others waiting', () => {
  const files = [sound(300, 1), sound(300, 2), sound(300, 1)];
  expect(readSounds(files, audio, null, 1200)).toMatchObject([
    { values: 600 },
    { values: 600 },
    { values: 600 },
  ]);
  const more = [...files, sound(300, 3), Buffer.from('not looked at any more')];
  expect(() => readSounds(more, audio, null, 1200)).toThrow('too long to be heard at once');
  expect(readSounds(more, audio, null)).toHaveLength(5);
});
