// Samples of an audio clip, and the limits of clips in data sets.
import { DomainError } from '@graft/contracts';

export interface AudioClip {
  /** Samples of one channel, −1 to 1. */
  readonly samples: Float32Array;
  /** Sampling rate in Hz. */
  readonly samplingRate: number;
  /** Number of decoded values in all channels. */
  readonly values: number;
}

/** Properties in a file's header, before anything is decoded. */
export interface AudioFormat {
  readonly channels: number;
  readonly samplingRate: number;
  /** Samples per channel; 0 if the stream's header does not contain it. */
  readonly length: number;
}

export const MAX_AUDIO_SECONDS = 600;
/** 10 minutes of two channels at 48 kHz. Decoded values have 4 bytes each. */
export const MAX_VALUES = MAX_AUDIO_SECONDS * 48_000 * 2;
const RATES = [1000, 384_000] as const;
const MAX_CHANNELS = 8;

export function undecodable(what: string): DomainError {
  return new DomainError('invalid_training_file', `the audio cannot be decoded: ${what}`, 'audio');
}

/** Error for the total length of the audio of a request, because other requests wait for it. */
export const audioTooLong = (): DomainError =>
  new DomainError(
    'invalid_value',
    'the audio is too long for one request: expected at most 10 minutes of two channels at 48 kHz in total; send fewer clips per request',
  );

/** Rejects audio that would need more memory or time than a clip of a data set may. */
export function checkFormat({ channels, samplingRate, length }: AudioFormat): void {
  if (!(channels >= 1 && channels <= MAX_CHANNELS))
    throw undecodable(`expected 1 to ${MAX_CHANNELS} channels, got ${channels}`);
  if (!(samplingRate >= RATES[0] && samplingRate <= RATES[1]))
    throw undecodable(
      `expected a sampling rate of ${RATES[0]} to ${RATES[1]} Hz, got ${samplingRate}`,
    );
  if (length > MAX_AUDIO_SECONDS * samplingRate || length * channels > MAX_VALUES)
    throw undecodable(
      `${Math.round(length / samplingRate)} s of ${channels} channels at ${samplingRate} Hz is too long: ` +
        `expected at most ${MAX_AUDIO_SECONDS} s, or less for more than two channels at 48 kHz`,
    );
}

/** Mean of the channels, summed in 32 bits as in numpy. */
export function mixDown(channels: readonly Float32Array[]): Float32Array {
  const [first, ...others] = channels;
  if (!first) throw new Error('audio without channels');
  if (others.length === 0) return first;
  return first.map((value, at) => {
    let sum = value;
    for (const channel of others) sum = Math.fround(sum + (channel[at] ?? 0));
    return sum / channels.length;
  });
}
