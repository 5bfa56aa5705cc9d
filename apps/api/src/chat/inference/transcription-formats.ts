// Formats of transcripts in OpenAI's API.
import { deflateSync } from 'node:zlib';
import type {
  AudioFacts,
  TranscriptionSegment,
  TranscriptionVerboseObject,
  TranscriptSegment,
} from '@graft/contracts';

export interface Transcribed extends AudioFacts {
  readonly text: string;
  readonly segments: readonly TranscriptSegment[];
}

export function verboseJson(
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

const segment = (
  one: TranscriptSegment,
  id: number,
  temperature: number,
): TranscriptionSegment => ({
  id,
  seek: one.seek,
  start: one.start,
  end: one.end,
  text: one.text,
  tokens: [...one.tokens],
  temperature,
  avg_logprob: one.avg_logprob,
  compression_ratio: ratio(one.text),
  no_speech_prob: one.no_speech_prob,
});

function ratio(text: string): number {
  const bytes = Buffer.from(text);
  return bytes.length / deflateSync(bytes).length;
}

export const srt = (segments: readonly TranscriptSegment[]): string =>
  segments
    .map(
      ({ start, end, text }, i) =>
        `${i + 1}\n${clock(start, ',')} --> ${clock(end, ',')}\n${line(text)}\n\n`,
    ) // prettier-ignore
    .join('');

export const vtt = (segments: readonly TranscriptSegment[]): string =>
  `WEBVTT\n\n${segments
    .map(({ start, end, text }) => `${clock(start, '.')} --> ${clock(end, '.')}\n${line(text)}\n\n`)
    .join('')}`;

/** Replaces arrows, which would start a new cue, and line breaks. */
const line = (text: string): string => text.trim().replaceAll(/\s*[\r\n]\s*/g, ' ').replaceAll(/-+->/g, '->'); // prettier-ignore

function clock(seconds: number, point: string): string {
  const all = Math.round(1000 * seconds);
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0');
  const thousandths = String(all % 1000).padStart(3, '0');
  return `${two(all / 3_600_000)}:${two((all / 60_000) % 60)}:${two((all / 1000) % 60)}${point}${thousandths}`;
}
