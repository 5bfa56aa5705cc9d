/** The API's one error shape: OpenAI's `{"error":{message,type,param,code}}`. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
    /** Of a table that was refused because nobody can tell which of its columns is what. */
    readonly columns?: readonly string[];
  };
}

/** HTTP status and OpenAI error type of every code a DomainError may carry. */
export const ERROR_CODES = {
  invalid_value: { status: 400, type: 'invalid_request_error' },
  missing_required_parameter: { status: 400, type: 'invalid_request_error' },
  unknown_parameter: { status: 400, type: 'invalid_request_error' },
  invalid_json: { status: 400, type: 'invalid_request_error' },
  invalid_training_file: { status: 400, type: 'invalid_request_error' },
  invalid_adapter: { status: 400, type: 'invalid_request_error' },
  invalid_model: { status: 400, type: 'invalid_request_error' },
  invalid_state: { status: 400, type: 'invalid_request_error' },
  unsupported: { status: 400, type: 'invalid_request_error' },
  invalid_api_key: { status: 401, type: 'invalid_request_error' },
  insufficient_scope: { status: 403, type: 'invalid_request_error' },
  not_found: { status: 404, type: 'invalid_request_error' },
  file_not_found: { status: 404, type: 'invalid_request_error' },
  fine_tune_not_found: { status: 404, type: 'invalid_request_error' },
  model_not_found: { status: 404, type: 'invalid_request_error' },
  conflict: { status: 409, type: 'invalid_request_error' },
  file_too_large: { status: 413, type: 'invalid_request_error' },
  request_too_large: { status: 413, type: 'invalid_request_error' },
  idempotency_mismatch: { status: 422, type: 'invalid_request_error' },
  rate_limit_exceeded: { status: 429, type: 'rate_limit_error' },
  queue_full: { status: 429, type: 'rate_limit_error' },
  internal_error: { status: 500, type: 'server_error' },
  unavailable: { status: 503, type: 'server_error' },
  no_worker: { status: 503, type: 'server_error' },
  disk_full: { status: 507, type: 'server_error' },
  // Classes of a failed attempt; they travel in events and in a job's `error`, not as HTTP answers.
  user_error: { status: 400, type: 'invalid_request_error' },
  oom_host: { status: 500, type: 'server_error' },
  oom_heap: { status: 500, type: 'server_error' },
  oom_gpu: { status: 500, type: 'server_error' },
  io_error: { status: 500, type: 'server_error' },
  lost_worker: { status: 500, type: 'server_error' },
  nonfinite: { status: 500, type: 'server_error' },
  hang: { status: 500, type: 'server_error' },
  crash: { status: 500, type: 'server_error' },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

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
    super(message);
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

/** A table of training data whose columns have to be named: `columns` of the upload says which is what. */
export class UnknownColumns extends DomainError {
  constructor(
    message: string,
    readonly columns: readonly string[],
  ) {
    super('invalid_training_file', message, 'columns');
  }

  override body(): ErrorBody {
    return { error: { ...super.body().error, columns: this.columns } };
  }
}
