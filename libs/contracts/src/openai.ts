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
