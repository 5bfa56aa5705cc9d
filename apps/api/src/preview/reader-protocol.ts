import type { BaseProcessor, DataFile, DataReports, NamedFile, Split } from '@graft/peft-core/data';
import type { SamplePrompt } from '@graft/contracts';
import type { ConfinedAnswer } from '../sandbox/confined-answer.js';

/** Besides the files, what a report on data depends on. */
export interface ReportOptions {
  readonly task: string;
  readonly taskOptions: Readonly<Record<string, unknown>>;
  readonly maxSeqLen: number;
  /** How many tasks the method's prompts are by; null: by none. */
  readonly tasks: number | null;
  /** What of the training file is held out for validation; null: nothing. */
  readonly split: Split | null;
  /** Tokens from which on the method acts; null: everywhere. */
  readonly invocation: readonly number[] | null;
}

/** What the API asks its reader process, one at a time. */
export type ReaderRequest =
  | { readonly op: 'config'; readonly base: readonly NamedFile[] }
  | {
      readonly op: 'prompts';
      readonly base: readonly NamedFile[];
      readonly prompts: readonly SamplePrompt[];
      /** Tokens that a sequence of the run may have. */
      readonly maxTokens: number;
    }
  | (ReportOptions & {
      readonly op: 'report';
      readonly base: readonly NamedFile[];
      readonly training: DataFile;
      readonly validation: DataFile | null;
    });

/** Paths of all files that are read for an answer. */
export function filesOf(request: ReaderRequest): readonly string[] {
  const data = request.op === 'report' ? [request.training, request.validation] : [];
  return [...request.base, ...data].flatMap((file) => file?.path ?? []);
}

export type BaseConfig = BaseProcessor['config'];
export type { DataReports };

export type ReaderAnswer<T = unknown> =
  | ConfinedAnswer<T>
  /** The reader's own trouble, in words for whoever sent the data. */
  | { readonly failed: string }
  /** An error that nobody foresaw, in words for the log. */
  | { readonly crashed: string };
