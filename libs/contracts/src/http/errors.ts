/** The API's one error shape: OpenAI's `{"error":{message,type,param,code}}`. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
    /** Of a table that was refused because nobody can tell which of its columns is what. */
    readonly columns?: readonly string[];
    /** Of such a table: columns that may be meant, by the fields of a record. */
    readonly suggested_columns?: Readonly<Record<string, string>>;
  };
}

/**
 * Whether a job is tried again after an attempt that failed with a code, and what that try counts against:
 * - `never`: it would fail again.
 * - `once`: one more time.
 * - `crash`: until the budget of crashes without a new checkpoint is spent.
 * - `infra`: until the job's budget of failures of the infrastructure is spent.
 * - `wait`: after a while, as often as it takes; it counts against nothing.
 * - `free`: at once, as often as it takes; it counts against nothing.
 */
export type Retry = 'never' | 'once' | 'crash' | 'infra' | 'wait' | 'free';

/** Every code that a DomainError may carry: HTTP status, OpenAI's error type, and what a job does after it. */
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
  // Classes of a failed attempt; they travel in events and in a job's `error`, not as HTTP answers.
  user_error: { status: 400, type: 'invalid_request_error', retry: 'never' },
  /** The base found no room beside what uses the memory; another worker of the pool may have it. */
  no_memory: { status: 503, type: 'server_error', retry: 'once' },
  oom_host: { status: 500, type: 'server_error', retry: 'once' },
  oom_heap: { status: 500, type: 'server_error', retry: 'never' },
  oom_gpu: { status: 500, type: 'server_error', retry: 'never' },
  io_error: { status: 500, type: 'server_error', retry: 'infra' },
  /** The checkpoint that a run was to resume from is not what was stored: the one before is taken. */
  damaged_checkpoint: { status: 500, type: 'server_error', retry: 'free' },
  /** What the worker reported of the run cannot be stored. */
  invalid_report: { status: 500, type: 'server_error', retry: 'crash' },
  /** The server has a defect that shows when it prepares the job for a worker. */
  preparation_failed: { status: 500, type: 'server_error', retry: 'crash' },
  lost_worker: { status: 500, type: 'server_error', retry: 'infra' },
  nonfinite: { status: 500, type: 'server_error', retry: 'never' },
  hang: { status: 500, type: 'server_error', retry: 'infra' },
  crash: { status: 500, type: 'server_error', retry: 'crash' },
  /** Another job or an answer ended the process that the job shared with it. */
  displaced: { status: 500, type: 'server_error', retry: 'free' },
} as const satisfies Record<string, { status: number; type: string; retry: Retry }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Whether this build knows the code; another's may have others. */
export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_CODES, code);

/** Null for a code that this build does not know. */
export function retryOf(code: string): Retry | null {
  return isErrorCode(code) ? ERROR_CODES[code].retry : null;
}

/** What travels beside a code, for readers that do not know it. A code that is not known here is not tried again. */
export function isRetryable(code: string): boolean {
  return (retryOf(code) ?? 'never') !== 'never';
}

/**
 * An error a user can act on. `message` names the offending value and the way out; `param` is the
 * whole path of the field ("peft.target_modules") where there is one.
 */
export class DomainError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly param: string | null = null,
    readonly retryAfterSeconds: number | null = null,
  ) {
    // What a message quotes may hold half of a surrogate pair.
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

/** A table of training data whose columns have to be named: a field of the upload says which is what. */
export class UnknownColumns extends DomainError {
  /**
   * @param told the message; a field of `columns` is named by a function, as the request has it
   * @param suggested columns by field that may be meant; null if nobody can tell
   * @param at the field of the request: `columns[text]` of a form, `graft.columns.text` of a JSON body
   */
  constructor(
    private readonly told: (named: (field: string) => string) => string,
    readonly columns: readonly string[],
    readonly suggested: Readonly<Record<string, string>> | null,
    at: 'columns' | 'graft.columns' = 'columns',
  ) {
    const named = (field: string): string =>
      at === 'columns' ? `columns[${field}]` : `${at}.${field}`;
    super('invalid_training_file', told(named), at);
  }

  /** The same error where the field is `graft.columns`. */
  underGraft(): UnknownColumns {
    return new UnknownColumns(this.told, this.columns, this.suggested, 'graft.columns');
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
