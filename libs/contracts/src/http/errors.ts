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

/** HTTP status, OpenAI error type, retry policy and meaning of every code of a DomainError. */
export const ERROR_CODES = {
  invalid_value: {
    status: 400,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'A field has an invalid value; `param` names it',
  },
  missing_required_parameter: {
    status: 400,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'A required field is missing',
  },
  unknown_parameter: {
    status: 400,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The request has a field that Graft does not know',
  },
  invalid_json: {
    status: 400,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The body is not valid JSON',
  },
  invalid_training_file: {
    status: 400,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The file cannot be used for training; the message names its lines',
  },
  invalid_adapter: {
    status: 400,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The uploaded adapter cannot be used',
  },
  invalid_model: {
    status: 400,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The files of the base model cannot be used',
  },
  invalid_state: {
    status: 400,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The object is in a state that does not allow the request',
  },
  unsupported: {
    status: 400,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'Graft does not support the requested value or combination',
  },
  invalid_api_key: {
    status: 401,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The API key is missing, unknown, expired or revoked',
  },
  insufficient_scope: {
    status: 403,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The API key does not have the required scope',
  },
  not_found: {
    status: 404,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The object does not exist, or belongs to another project',
  },
  file_not_found: {
    status: 404,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The file does not exist',
  },
  fine_tune_not_found: {
    status: 404,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The job does not exist',
  },
  model_not_found: {
    status: 404,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The model does not exist',
  },
  request_timeout: {
    status: 408,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The body arrived more slowly than 16 KiB per minute',
  },
  conflict: {
    status: 409,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'Another object prevents the request; the message names it',
  },
  file_too_large: {
    status: 413,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The file exceeds a size limit',
  },
  request_too_large: {
    status: 413,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The request exceeds a size limit',
  },
  idempotency_mismatch: {
    status: 422,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The Idempotency-Key was used with another body',
  },
  rate_limit_exceeded: {
    status: 429,
    type: 'rate_limit_error',
    retry: 'never',
    meaning: 'Too many requests or event streams; wait for `retry-after` seconds',
  },
  insufficient_quota: {
    status: 429,
    type: 'insufficient_quota',
    retry: 'never',
    meaning: 'A limit of the project is reached',
  },
  queue_full: {
    status: 429,
    type: 'rate_limit_error',
    retry: 'never',
    meaning: 'Too many requests are waiting; retry',
  },
  internal_error: {
    status: 500,
    type: 'server_error',
    retry: 'never',
    meaning: 'A bug in Graft; the log of the API has details',
  },
  unavailable: {
    status: 503,
    type: 'server_error',
    retry: 'never',
    meaning: 'A service that the request needs is not available; retry',
  },
  no_worker: {
    status: 503,
    type: 'server_error',
    retry: 'never',
    meaning: 'No online worker can serve the model; start one',
  },
  disk_full: {
    status: 507,
    type: 'server_error',
    retry: 'wait',
    meaning: 'The disk has too little free space',
  },
  // Exit classes of failed attempts (`ATTEMPT_CODES`).
  user_error: {
    status: 400,
    type: 'invalid_request_error',
    retry: 'never',
    meaning: 'The job or its data caused the failure; the message explains it',
  },
  no_memory: {
    status: 503,
    type: 'server_error',
    retry: 'once',
    meaning: "The worker has too little free memory for the job's base model",
  },
  oom_host: {
    status: 500,
    type: 'server_error',
    retry: 'once',
    meaning: 'The trainer ran out of memory',
  },
  oom_heap: {
    status: 500,
    type: 'server_error',
    retry: 'never',
    meaning: "The trainer's JavaScript heap ran out of memory",
  },
  oom_gpu: {
    status: 500,
    type: 'server_error',
    retry: 'never',
    meaning: 'The GPU ran out of memory',
  },
  io_error: {
    status: 500,
    type: 'server_error',
    retry: 'infra',
    meaning: 'Reading or writing a file failed',
  },
  damaged_checkpoint: {
    status: 500,
    type: 'server_error',
    retry: 'free',
    meaning: 'A checkpoint is damaged; the retry resumes from the previous one',
  },
  invalid_report: {
    status: 500,
    type: 'server_error',
    retry: 'crash',
    meaning: 'The worker reported something that cannot be stored',
  },
  preparation_failed: {
    status: 500,
    type: 'server_error',
    retry: 'crash',
    meaning: 'The API failed to prepare the job for a worker because of a bug',
  },
  lost_worker: {
    status: 500,
    type: 'server_error',
    retry: 'infra',
    meaning: 'The worker stopped responding',
  },
  nonfinite: {
    status: 500,
    type: 'server_error',
    retry: 'never',
    meaning: 'The loss became NaN or infinite; lower the learning rate',
  },
  hang: {
    status: 500,
    type: 'server_error',
    retry: 'infra',
    meaning: 'The trainer made no progress',
  },
  crash: {
    status: 500,
    type: 'server_error',
    retry: 'crash',
    meaning: 'The trainer process crashed',
  },
  displaced: {
    status: 500,
    type: 'server_error',
    retry: 'free',
    meaning: 'Another job or a request to a model crashed the shared trainer process',
  },
  interrupted: {
    status: 500,
    type: 'server_error',
    retry: 'free',
    meaning: 'An administrator killed the trainer process on purpose',
  },
} as const satisfies Record<
  string,
  { status: number; type: string; retry: Retry; meaning: string }
>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Exit classes of failed attempts. They appear in events and in a job's `error`; few are codes of HTTP responses, too. */
export const ATTEMPT_CODES = [
  'user_error',
  'no_memory',
  'oom_host',
  'oom_heap',
  'oom_gpu',
  'io_error',
  'damaged_checkpoint',
  'invalid_report',
  'preparation_failed',
  'lost_worker',
  'nonfinite',
  'hang',
  'crash',
  'displaced',
  'interrupted',
] as const satisfies readonly ErrorCode[];

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
