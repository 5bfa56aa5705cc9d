import { openAsBlob } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { serverEvents } from '@graft/contracts/sse';
import type { ErrorBody, FileObject, Page, ServerEvent } from '@graft/contracts';
import { CliError, EXIT } from '../cli-error.js';
import type { Credentials } from '../config/server-access.js';
import { GRAFT } from '../called.js';

/** Path parameters. Error messages do not name them, because users do not type them. */
const PATH_PARAMETERS: readonly string[] = ['fine_tune_id', 'fine_tuning_job_id', 'file_id'];

/** Error response of the API. */
export class ApiError extends CliError {
  constructor(
    readonly status: number,
    readonly code: string | null,
    readonly param: string | null,
    message: string,
    readonly retryAfterSeconds: number | null,
    /** Suggested columns by field, if the API rejected a table because of its columns. */
    readonly suggestedColumns: Readonly<Record<string, string>> | null = null,
  ) {
    const isNamed = param === null || PATH_PARAMETERS.includes(param) || message.includes(param);
    super(isNamed ? message : `${message} (${param})`);
    this.name = 'ApiError';
  }
}

type Body = Readonly<Record<string, unknown>> | FormData;

/** Client of Graft's REST API. */
export class Api {
  constructor(readonly credentials: Credentials) {}

  get<T>(path: string): Promise<T> {
    return this.json<T>('GET', path);
  }

  post<T>(path: string, body?: Body): Promise<T> {
    return this.json<T>('POST', path, body);
  }

  delete<T>(path: string): Promise<T> {
    return this.json<T>('DELETE', path);
  }

  /** Reads all pages of a list in the server's order. An item that moves to a later page in the meantime is returned once. */
  async all<T extends { readonly id: string }>(path: string, limit = Infinity): Promise<T[]> {
    const items = new Map<string, T>();
    const from = new Set<string>();
    for (let after = ''; ;) {
      const join = path.includes('?') ? '&' : '?';
      const size = Math.min(100, limit - items.size);
      const page = await this.get<Page<T>>(
        `${path}${join}limit=${size}${after && `&after=${encodeURIComponent(after)}`}`,
      );
      for (const item of page.data) if (!items.has(item.id)) items.set(item.id, item);
      const last = page.data.at(-1);
      // The same cursor twice means that the sort key changes faster than the pages are read.
      const more = page.has_more && last !== undefined && !from.has(last.id);
      if (!more || items.size >= limit) return [...items.values()];
      after = last.id;
      from.add(after);
    }
  }

  /** Uploads a file without loading it into memory. */
  async upload(path: string, columns: Readonly<Record<string, string>> = {}): Promise<FileObject> {
    return this.uploadAs(await blobOf(path), basename(path), 'fine-tune', columns);
  }

  /** @param columns column of a table by field, for training data */
  uploadAs(
    content: Blob,
    name: string,
    purpose: 'fine-tune' | 'evals' | 'batch',
    columns: Readonly<Record<string, string>> = {},
  ): Promise<FileObject> {
    const form = new FormData();
    form.set('purpose', purpose);
    for (const [part, column] of Object.entries(columns)) form.set(`columns[${part}]`, column);
    form.set('file', content, name);
    return this.post<FileObject>('/files', form);
  }

  /** Sends a request and returns the response, e.g. to read a file's content or a stream. */
  async raw(
    method: string,
    path: string,
    options: { body?: Body; headers?: Record<string, string>; signal?: AbortSignal } = {},
  ): Promise<Response> {
    const { body, headers, signal } = options;
    const isForm = body instanceof FormData;
    const sent = body === undefined ? undefined : isForm ? body : JSON.stringify(body);
    let answer: Response;
    try {
      answer = await fetch(`${this.credentials.url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${this.credentials.apiKey}`,
          ...(sent !== undefined && !isForm ? { 'content-type': 'application/json' } : {}),
          ...headers,
        },
        body: sent,
        signal,
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw unreachable(this.credentials.url, error);
    }
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }

  /**
   * Events of an SSE endpoint, for as long as the caller reads. Reconnects after a lost connection and resumes after the
   * last event (Last-Event-ID); calls `onLost` at the first failure.
   * @throws ApiError if the server rejects the request; CliError after 30 failed connections in a row
   */
  async *events(
    path: string,
    options: { signal?: AbortSignal; onLost?: () => void } = {},
  ): AsyncGenerator<ServerEvent> {
    let lastId = '';
    for (let failures = 0; ;) {
      try {
        const headers = { accept: 'text/event-stream', ...(lastId && { 'last-event-id': lastId }) };
        const answer = await this.raw('GET', path, { headers, signal: options.signal });
        if (answer.body === null) throw new Error('response has no body');
        for await (const event of serverEvents(answer.body)) {
          failures = 0;
          // A new connection starts with the state of the job, which has no id.
          lastId = event.id ?? lastId;
          yield event;
        }
      } catch (error) {
        if (options.signal?.aborted) return;
        if (error instanceof ApiError && error.status < 500) throw error;
      }
      if (options.signal?.aborted) return;
      failures += 1;
      if (failures === 1) options.onLost?.();
      if (failures > 30)
        throw new CliError(
          `lost the connection to ${this.credentials.url}; the job continues`,
          EXIT.unreachable,
        );
      await sleep(Math.min(5000, 250 * 2 ** Math.min(failures, 5)), undefined, {
        signal: options.signal,
      }).catch(() => undefined);
    }
  }

  private async json<T>(method: string, path: string, body?: Body): Promise<T> {
    const answer = await this.raw(method, path, { body });
    const text = await answer.text();
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new ApiError(answer.status, null, null, notJsonText(answer, text), null);
    }
  }
}

export async function blobOf(path: string): Promise<Blob> {
  try {
    if ((await stat(path)).isDirectory()) throw new Error('it is a directory');
    return await openAsBlob(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Size of a file in bytes. A Blob of the file has the wrong size from 4 GiB on in Node 20. */
export async function sizeOf(path: string): Promise<number> {
  await blobOf(path);
  return (await stat(path)).size;
}

export const unreadable = (path: string, error: unknown): CliError =>
  new CliError(`cannot read ${path}: ${reasonOf(error as NodeJS.ErrnoException)}`, EXIT.usage);

const reasonOf = ({ code, message }: NodeJS.ErrnoException): string =>
  code === 'ENOENT' ? 'no such file' : message;

function unreachable(url: string, error: unknown): CliError {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause;
  const reason = cause?.code ?? cause?.message ?? (error as Error).message;
  return new CliError(
    `cannot connect to ${url} (${reason}); start Graft with \`${GRAFT} up\`, or set GRAFT_URL`,
    EXIT.unreachable,
  );
}

/** Graft's message for OpenAI's "not found" messages. */
function notFoundText([, words, id]: RegExpExecArray): string {
  const kind = words?.startsWith('No such') ? 'file' : 'job';
  return `no ${kind} named ${id}; see graft ${kind}s`;
}

/** Message for an answer that Graft did not write, such as a proxy's page. */
function notJsonText({ status, url, headers }: Response, text: string): string {
  const type = headers.get('content-type')?.split(';')[0] ?? 'no content type';
  const isPage = /html/.test(type) || /^\s*</.test(text);
  const what = isPage ? 'a web page' : text.trim() === '' ? 'an empty answer' : type;
  const { origin } = new URL(url);
  return `${origin} answered with HTTP ${status} and ${what} instead of JSON; check the address (--url, GRAFT_URL) and any proxy in front of the API`;
}

async function refusal(answer: Response): Promise<ApiError> {
  const text = await answer.text();
  const after = Number(answer.headers.get('retry-after') ?? NaN);
  const wait = Number.isFinite(after) ? after : null;
  try {
    const { error } = JSON.parse(text) as ErrorBody;
    const hint =
      answer.status === 401
        ? '; set GRAFT_API_KEY, or set GRAFT_HOME to the folder with the credentials.json of the API'
        : '';
    const missing = /^(Could not find fine tune|No such File object): (\S+)$/.exec(error.message);
    if (missing) return new ApiError(answer.status, error.code, null, notFoundText(missing), wait);
    const { message, code, param, suggested_columns: suggested = null } = error;
    return new ApiError(answer.status, code, param, message + hint, wait, suggested);
  } catch {
    return new ApiError(answer.status, null, null, notJsonText(answer, text), wait);
  }
}
