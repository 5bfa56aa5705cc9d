// What a transcript looks like in each of OpenAI's formats.
import { deflateSync } from 'node:zlib';
import type { TranscriptionSegment, TranscriptionVerboseObject } from '@graft/contracts';
import { z } from 'zod';

/** A segment as a worker tells it. */
export const ToldSegment = z.object({
  seek: z.int().min(0),
  start: z.number().min(0),
  end: z.number().min(0),
  text: z.string(),
  tokens: z.array(z.int().min(0)),
  avgLogprob: z.number(),
  noSpeechProb: z.number().nullable(),
});
export type ToldSegment = z.infer<typeof ToldSegment>;

/** What it tells of the sound, last. */
export const ToldSound = z.object({ seconds: z.number().min(0), language: z.string().nullable() });
export type ToldSound = z.infer<typeof ToldSound>;

export interface Transcribed extends ToldSound {
  readonly text: string;
  readonly segments: readonly ToldSegment[];
}

export function verbose(
  { text, seconds, language, segments }: Transcribed,
  temperature: number,
): TranscriptionVerboseObject {
  return {
    task: 'transcribe',
    language,
    duration: seconds,
    text,
    segments: segments.map((one, id) => segment(one, id, temperature)),
    usage: { type: 'duration', seconds: Math.ceil(seconds) },
  };
}

const segment = (one: ToldSegment, id: number, temperature: number): TranscriptionSegment => ({
  id,
  seek: one.seek,
  start: one.start,
  end: one.end,
  text: one.text,
  tokens: one.tokens,
  temperature,
  avg_logprob: one.avgLogprob,
  compression_ratio: ratio(one.text),
  no_speech_prob: one.noSpeechProb,
});

function ratio(text: string): number {
  const bytes = Buffer.from(text);
  return bytes.length / deflateSync(bytes).length;
}

export const srt = (segments: readonly ToldSegment[]): string =>
  segments
    .map(
      ({ start, end, text }, i) =>
        `${i + 1}\n${clock(start, ',')} --> ${clock(end, ',')}\n${line(text)}\n\n`,
    ) // prettier-ignore
    .join('');

export const vtt = (segments: readonly ToldSegment[]): string =>
  `WEBVTT\n\n${segments
    .map(({ start, end, text }) => `${clock(start, '.')} --> ${clock(end, '.')}\n${line(text)}\n\n`)
    .join('')}`;

/** An arrow would begin another part. */
const line = (text: string): string => text.trim().replaceAll(/\s*[\r\n]\s*/g, ' ').replaceAll(/-+->/g, '->'); // prettier-ignore

function clock(seconds: number, point: string): string {
  const all = Math.round(1000 * seconds);
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0');
  const thousandths = String(all % 1000).padStart(3, '0');
  return `${two(all / 3_600_000)}:${two((all / 60_000) % 60)}:${two((all / 1000) % 60)}${point}${thousandths}`;
}
