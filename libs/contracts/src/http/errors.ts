/** Error response in OpenAI's format: `{"error":{message,type,param,code}}`. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
    /** Columns of a rejected table whose roles are ambiguous. */
    readonly columns?: readonly string[];
    /** Suggested column of such a table for each field of a record. */
    readonly suggested_columns?: Readonly<Record<string, string>>;
  };
}

/**
 * Retry policy of a job after an attempt that failed with a code:
 * - `never`: no retry, because it would fail again.
 * - `once`: one retry.
 * - `crash`: retries until the budget of crashes without a new checkpoint is spent.
 * - `infra`: retries until the job's budget of infrastructure failures is spent.
 * - `wait`: unlimited retries with a delay; no budget is charged.
 * - `free`: unlimited immediate retries; no budget is charged.
 */
export type Retry = 'never' | 'once' | 'crash' | 'infra' | 'wait' | 'free';

/** HTTP status, OpenAI error type and retry policy of every code of a DomainError. */
export const ERROR_CODES = {
  invalid_value: { status: 400, type: 'invalid_request_error', retry: 'never' },
  missing_required_parameter: { status: 400, type: 'invalid_request_error', retry: 'never' },
  unknown_parameter: { status: 400, type: 'invalid_request_error', retry: 'never' },
  invalid_json: { status: 400, type: 'invalid_request_error', retry: 'never' },
  invalid_training_file: { status: 400, type: 'invalid_request_error', retry: 'never' },
  invalid_adapter: { status: 400, type: 'invalid_request_error', retry: 'never' },
  invalid_model: { status: 400, type: 'invalid_request_error', retry: 'never' },
  invalid_state: { status: 400, type: 'invalid_request_error', retry: 'never' },
  unsupported: { status: 400, type: 'invalid_request_error', retry: 'never' },
  invalid_api_key: { status: 401, type: 'invalid_request_error', retry: 'never' },
  insufficient_scope: { status: 403, type: 'invalid_request_error', retry: 'never' },
  not_found: { status: 404, type: 'invalid_request_error', retry: 'never' },
  file_not_found: { status: 404, type: 'invalid_request_error', retry: 'never' },
  fine_tune_not_found: { status: 404, type: 'invalid_request_error', retry: 'never' },
  model_not_found: { status: 404, type: 'invalid_request_error', retry: 'never' },
  request_timeout: { status: 408, type: 'invalid_request_error', retry: 'never' },
  conflict: { status: 409, type: 'invalid_request_error', retry: 'never' },
  file_too_large: { status: 413, type: 'invalid_request_error', retry: 'never' },
  request_too_large: { status: 413, type: 'invalid_request_error', retry: 'never' },
  idempotency_mismatch: { status: 422, type: 'invalid_request_error', retry: 'never' },
  rate_limit_exceeded: { status: 429, type: 'rate_limit_error', retry: 'never' },
  /** A limit of the project is reached (OpenAI's code and type). */
  insufficient_quota: { status: 429, type: 'insufficient_quota', retry: 'never' },
  queue_full: { status: 429, type: 'rate_limit_error', retry: 'never' },
  internal_error: { status: 500, type: 'server_error', retry: 'never' },
  unavailable: { status: 503, type: 'server_error', retry: 'never' },
  no_worker: { status: 503, type: 'server_error', retry: 'never' },
  disk_full: { status: 507, type: 'server_error', retry: 'wait' },
  // Exit classes of failed attempts. They appear in events and in a job's `error`, not in HTTP responses.
  user_error: { status: 400, type: 'invalid_request_error', retry: 'never' },
  /** The worker has too little free memory for the base; another worker of the pool may have enough. */
  no_memory: { status: 503, type: 'server_error', retry: 'once' },
  oom_host: { status: 500, type: 'server_error', retry: 'once' },
  oom_heap: { status: 500, type: 'server_error', retry: 'never' },
  oom_gpu: { status: 500, type: 'server_error', retry: 'never' },
  io_error: { status: 500, type: 'server_error', retry: 'infra' },
  /** The checkpoint to resume from differs from what was stored; the retry resumes from the previous one. */
  damaged_checkpoint: { status: 500, type: 'server_error', retry: 'free' },
  /** A report of the worker on the run cannot be stored. */
  invalid_report: { status: 500, type: 'server_error', retry: 'crash' },
  /** The API failed to prepare the job for a worker because of a bug. */
  preparation_failed: { status: 500, type: 'server_error', retry: 'crash' },
  lost_worker: { status: 500, type: 'server_error', retry: 'infra' },
  nonfinite: { status: 500, type: 'server_error', retry: 'never' },
  hang: { status: 500, type: 'server_error', retry: 'infra' },
  crash: { status: 500, type: 'server_error', retry: 'crash' },
  /** Another job or a request to a model crashed the process that the job shared with it. */
  displaced: { status: 500, type: 'server_error', retry: 'free' },
} as const satisfies Record<string, { status: number; type: string; retry: Retry }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Whether this build knows the code. Other builds may have other codes. */
export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_CODES, code);

/** Returns the retry policy of a code, or null for a code that this build does not know. */
export function retryOf(code: string): Retry | null {
  return isErrorCode(code) ? ERROR_CODES[code].retry : null;
}

/** Whether attempts that fail with the code are retried. It is sent with the code, for readers that do not know the code. */
export function isRetryable(code: string): boolean {
  return (retryOf(code) ?? 'never') !== 'never';
}

/**
 * Error that a user can act on. `message` names the offending value and the remedy; `param` is the full path of the field,
 * such as "peft.target_modules", or null.
 */
export class DomainError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly param: string | null = null,
    readonly retryAfterSeconds: number | null = null,
  ) {
    // Quoted values may contain unpaired surrogates.
    super(message.toWellFormed());
    this.name = 'DomainError';
  }

  get status(): number {
    return ERROR_CODES[this.code].status;
  }

  body(): ErrorBody {
    const { type } = ERROR_CODES[this.code];
    return { error: { message: this.message, type, param: this.param, code: this.code } };
  }
}

/** Error for a table of training data whose columns the upload has to map to record fields. */
export class UnknownColumns extends DomainError {
  /**
   * @param messageFor builds the message; its argument returns the request's name of a field of `columns`
   * @param suggested suggested column per record field; null if there is no suggestion
   * @param at field of the request: `columns[text]` of a form, `graft.columns.text` of a JSON body
   */
  constructor(
    private readonly messageFor: (named: (field: string) => string) => string,
    readonly columns: readonly string[],
    readonly suggested: Readonly<Record<string, string>> | null,
    at: 'columns' | 'graft.columns' = 'columns',
  ) {
    const named = (field: string): string =>
      at === 'columns' ? `columns[${field}]` : `${at}.${field}`;
    super('invalid_training_file', messageFor(named), at);
  }

  /** Returns the same error for the field `graft.columns` of a JSON body. */
  underGraft(): UnknownColumns {
    return new UnknownColumns(this.messageFor, this.columns, this.suggested, 'graft.columns');
  }

  override body(): ErrorBody {
    const { columns, suggested } = this;
    return {
      error: {
        ...super.body().error,
        columns,
        ...(suggested && { suggested_columns: suggested }),
      },
    };
  }
}
