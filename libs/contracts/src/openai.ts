// The objects of the OpenAI wire contract as Graft serves them. Times are unix seconds.

export interface Page<T> {
  readonly object: 'list';
  readonly data: readonly T[];
  readonly has_more: boolean;
  readonly first_id?: string | null;
  readonly last_id?: string | null;
}

export type JobStatus =
  'validating_files' | 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'paused';

export const TERMINAL_STATUSES: readonly JobStatus[] = ['succeeded', 'failed', 'cancelled'];

export interface FileObject {
  readonly id: string;
  readonly object: 'file';
  readonly bytes: number;
  readonly created_at: number;
  readonly filename: string;
  readonly purpose: string;
  readonly status: 'uploaded' | 'processed' | 'error';
  readonly status_details?: string | null;
  readonly expires_at?: number;
  /** What the check of training data found; absent for other files. */
  readonly graft?: FileReport;
}

/** What an upload with purpose fine-tune holds. No base is known yet, so records and bytes are counted, not tokens. */
export interface FileReport {
  readonly records: number;
  /** Why it cannot be used: a sentence for each of the first twenty reasons, with the lines it is true of. */
  readonly problems: readonly string[];
  /** Records of each format: `messages`, `prompt_completion`, `text`. More than one key: a mixture. */
  readonly formats: Readonly<Record<string, number>>;
  /** Records that say the same as an earlier one, and the lines of the first twenty. */
  readonly duplicates: number;
  readonly duplicate_lines: readonly number[];
  /** Fields that training does not read, and how many records have them. */
  readonly ignored_fields: Readonly<Record<string, number>>;
  readonly longest_line: { readonly line: number; readonly bytes: number } | null;
  /** What was read when it was not JSON Lines of one of the formats: `csv`, `json`, `sharegpt`, `alpaca`, `parquet`. */
  readonly converted_from: string | null;
  /** A sentence each, for people. */
  readonly warnings: readonly string[];
}

/** What a training or validation file is for one base: found when a job is created, or asked for by a preview. */
export interface DataReport {
  readonly examples: number;
  /** Tokens of one pass, as cut; extrapolated from a sample where `sampled`. */
  readonly tokens: number;
  readonly supervised_tokens: number;
  readonly sampled: boolean;
  /** Tokens of the longest example before cutting (of those looked at), and where examples are cut. */
  readonly longest: number;
  readonly max_seq_len: number;
  /** Examples cut at their end, and the lines of the first twenty. None has lost all it teaches: those are refused. */
  readonly cut: number;
  readonly cut_lines: readonly number[];
  readonly duplicates: number;
  /** Examples that the training file has, too; of a validation file. */
  readonly overlap: number;
  readonly formats: Readonly<Record<string, number>>;
  /** Fields that this base's template does not use (such as `tools`), and how many records have them. */
  readonly ignored_fields: Readonly<Record<string, number>>;
  /** A sentence each, for people. */
  readonly warnings: readonly string[];
}

/** Something about a run that its owner should know, such as divergence; also an event of level warn. */
export interface JobWarning {
  /** `loss_at_chance`, `zero_gradient`, `overfitting`, … */
  readonly code: string;
  readonly message: string;
  readonly step: number | null;
}

/** The lowest validation loss so far and its step: of samples and of the whole file alike, the earliest of equal ones. */
export interface JobBest {
  readonly step: number;
  readonly valid_loss: number;
}

export interface JobError {
  readonly code: string;
  readonly message: string;
  readonly param: string | null;
}

/** Fields of Graft's own on a job (beside the echo of the request's `graft`). */
export interface JobGraft {
  readonly [option: string]: unknown;
  /** What the job waits for or does: a code and one sentence. */
  readonly phase: { readonly code: string; readonly message: string };
  readonly progress: {
    readonly step: number;
    readonly total_steps: number | null;
    readonly tokens_per_second: number | null;
    readonly eta_seconds: number | null;
  };
  readonly attempts: readonly JobAttempt[];
  readonly started_at: number | null;
  readonly pool: string;
  readonly priority: number;
  readonly trainable_parameters: number | null;
  readonly total_parameters: number | null;
  readonly train_loss: number | null;
  readonly valid_loss: number | null;
  /** At most 60 losses over the whole run, for a sparkline. */
  readonly sparkline: readonly number[];
  /** What the training file is for this base; null where it was not looked at. */
  readonly data: DataReport | null;
  /** The lowest validation loss so far and its step. */
  readonly best: JobBest | null;
  /** Seconds in which attempts trained (from their first step's beginning to their end); waiting is not in it. */
  readonly training_seconds: number;
  /** Of a running job: seconds since its worker was last heard, by the database's clock; null under two heartbeats. */
  readonly worker_silent_seconds: number | null;
  /** Each code once, over all attempts. */
  readonly warnings: readonly JobWarning[];
}

export interface JobAttempt {
  readonly epoch: number;
  readonly worker: string | null;
  readonly started_at: number | null;
  readonly ended_at: number | null;
  /** null while it runs, else done, cancelled, drained or an exit class. */
  readonly outcome: string | null;
  readonly from_step: number;
}

export interface JobObject {
  readonly object: 'fine_tuning.job';
  readonly id: string;
  readonly created_at: number;
  readonly finished_at: number | null;
  readonly model: string;
  readonly fine_tuned_model: string | null;
  readonly organization_id: string;
  readonly status: JobStatus;
  readonly hyperparameters: {
    readonly batch_size: number | 'auto';
    readonly learning_rate_multiplier: number | 'auto';
    readonly n_epochs: number | 'auto';
  };
  readonly method: unknown;
  readonly training_file: string;
  readonly validation_file: string | null;
  readonly result_files: readonly string[];
  readonly trained_tokens: number | null;
  readonly error: JobError | null;
  readonly seed: number;
  readonly estimated_finish: number | null;
  readonly integrations: readonly unknown[] | null;
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly user_provided_suffix: string | null;
  readonly peft: Readonly<Record<string, unknown>> | null;
  readonly graft: JobGraft;
}

export interface JobEventObject {
  readonly object: 'fine_tuning.job.event';
  readonly id: string;
  readonly created_at: number;
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  readonly type: 'message' | 'metrics';
  readonly data: Readonly<Record<string, unknown>> | null;
}

export interface CheckpointObject {
  readonly object: 'fine_tuning.job.checkpoint';
  readonly id: string;
  readonly created_at: number;
  readonly fine_tuning_job_id: string;
  readonly fine_tuned_model_checkpoint: string;
  readonly step_number: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly graft: {
    /** Whether it holds an adapter to use and to download; not after full fine-tuning. */
    readonly usable: boolean;
    /** Of the adapter. */
    readonly bytes: number;
    /** Whether it is the one with the lowest validation loss, measured at its own step, of those that are kept. */
    readonly best: boolean;
  };
}

export interface ModelObject {
  readonly id: string;
  readonly object: 'model';
  readonly created: number;
  readonly owned_by: string;
  readonly graft?: {
    readonly kind: 'base' | 'adapter' | 'full';
    /** Model family ("llama") of a base; null while it is being imported. */
    readonly family: string | null;
    readonly base: string | null;
    readonly job: string | null;
    readonly status: 'importing' | 'ready' | 'error';
    readonly status_details: string | null;
    /** 0..1 while importing. */
    readonly progress: number | null;
    readonly parameters: number | null;
    readonly bytes: number;
    readonly source: string | null;
    readonly files: readonly {
      readonly name: string;
      readonly size: number;
      readonly sha256: string;
    }[];
  };
}
