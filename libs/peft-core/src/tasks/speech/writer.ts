// How models write what is said in a sound, a token at a time: what a transcript asks of a task.
import type { TranscriptOptions, TranscriptSegment } from '@graft/contracts';
import type { Processor } from '../../data/processor.js';
import type { Model } from '../../models/model.js';

/** How a window of an audio file is transcribed. */
export interface WindowOptions extends TranscriptOptions {
  /** Whether the model writes when what is said begins and ends. */
  readonly timed: boolean;
  /** Of the window's sound. */
  readonly seconds: number;
}

/** A segment of a window, with times in seconds of the window. */
export type SaidSegment = Omit<TranscriptSegment, 'seek'>;

export interface SaidTimes {
  readonly segments: readonly SaidSegment[];
  /** Second of the window from which another goes on. */
  readonly until: number;
}

/** What is written of one window. */
export interface Writer {
  /** One forward: the text that is new. */
  step(): { readonly text: string; readonly isLast: boolean };
  /** Written so far, the end of text included. */
  readonly tokens: number;
  /** Null: nobody has said or heard it. */
  readonly language: string | null;
  /** At its end, of one that is timed. */
  times(): SaidTimes;
  close(): void;
}

export interface Writing<E, O> {
  /** Whether the base has tokens for times. */
  isTimed(processor: Processor): boolean;
  /** @throws DomainError for what of `asked` the base cannot do */
  open(
    model: Model,
    part: { readonly run: number; readonly example: E; readonly options: O },
    asked: WindowOptions,
  ): Writer;
}
