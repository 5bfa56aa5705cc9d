// Interface of tasks that generate transcripts token by token.
import type { TranscriptOptions, TranscriptSegment } from '@graft/contracts';
import type { Processor } from '../../data/processor.js';
import type { Model } from '../../models/model.js';

/** Options for transcribing a window of an audio file. */
export interface WindowOptions extends TranscriptOptions {
  /** Whether the model generates timestamps. */
  readonly timed: boolean;
  /** Length of the window's audio. */
  readonly seconds: number;
}

/** Segment of a window, with times in seconds from the start of the window. */
export type WindowSegment = Omit<TranscriptSegment, 'seek'>;

export interface WindowTimes {
  readonly segments: readonly WindowSegment[];
  /** Second of the window at which the next window starts. */
  readonly until: number;
}

/** Decoder of one window. */
export interface Writer {
  /** Runs one forward pass and returns the new text. */
  step(): { readonly text: string; readonly isLast: boolean };
  /** Number of generated tokens, including the end token. */
  readonly tokens: number;
  /** Language given or detected. Null if unknown. */
  readonly language: string | null;
  /** Returns the segments. Call it after the last step of a window with timestamps. */
  times(): WindowTimes;
  close(): void;
}

export interface Writing<E, O> {
  /** Whether the base model has timestamp tokens. */
  isTimed(processor: Processor): boolean;
  /** @throws DomainError for an option in `asked` that the base model does not support */
  open(
    model: Model,
    part: { readonly run: number; readonly example: E; readonly options: O },
    asked: WindowOptions,
  ): Writer;
}
