import type { BaseProcessor, DataFile, DataReports, NamedFile, Split } from '@graft/peft-core/data';
import type { SamplePrompt } from '@graft/contracts';
import type { ConfinedAnswer } from '../sandbox/confined-answer.js';

/** Inputs of a report in addition to the files. */
export interface ReportOptions {
  readonly task: string;
  readonly taskOptions: Readonly<Record<string, unknown>>;
  readonly maxSeqLen: number;
  /** Number of tasks that the method's prompts belong to; null for other methods. */
  readonly tasks: number | null;
  /** Validation split of the training file; null without one. */
  readonly split: Split | null;
  /** Tokens after which the method is active; null: it is active everywhere. */
  readonly invocation: readonly number[] | null;
}

/** Inputs that determine which records of a file are held out. */
export type HeldOutOptions = Pick<ReportOptions, 'task' | 'tasks'> & { readonly split: Split };

/** Requests of the API to its reader process, one at a time. */
export type ReaderRequest =
  | { readonly op: 'config'; readonly base: readonly NamedFile[] }
  | {
      readonly op: 'prompts';
      readonly base: readonly NamedFile[];
      readonly prompts: readonly SamplePrompt[];
      /** Maximum number of tokens of a sequence of the run. */
      readonly maxTokens: number;
    }
  | (HeldOutOptions & {
      readonly op: 'held_out';
      /** Always empty: the split does not depend on the base. */
      readonly base: readonly [];
      readonly training: DataFile;
    })
  | (ReportOptions & {
      readonly op: 'report';
      readonly base: readonly NamedFile[];
      readonly training: DataFile;
      readonly validation: DataFile | null;
    });

/** Paths of all files that the request reads. */
export function filesOf(request: ReaderRequest): readonly string[] {
  const data = dataOf(request);
  return [...request.base, ...data].flatMap((file) => file?.path ?? []);
}

function dataOf(request: ReaderRequest): readonly (DataFile | null)[] {
  if (request.op === 'report') return [request.training, request.validation];
  return request.op === 'held_out' ? [request.training] : [];
}

export type BaseConfig = BaseProcessor['config'];
export type { DataReports };

export type ReaderAnswer<T = unknown> =
  | ConfinedAnswer<T>
  /** Error of the reader itself, as text for the user. */
  | { readonly failed: string }
  /** Unexpected error, as text for the log. */
  | { readonly crashed: string };
