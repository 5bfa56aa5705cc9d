import type { ErrorBody, Page } from '@graft/contracts';
import { answered, probe } from './contact.js';
import { apiKey, keyRefused } from './session.js';

/** Error response of the API, with the field that it names. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly param: string | null,
    readonly code: string | null,
    /** Columns of a table that was rejected until its columns are assigned, with a suggested assignment. */
    readonly table: {
      readonly columns: readonly string[];
      readonly suggested: Readonly<Record<string, string>> | null;
    } | null = null,
    /** Seconds until a retry makes sense; null if none does. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** No response arrived: the server or the connection is down. */
export class NoAnswer extends Error {
  constructor(options: ErrorOptions) {
    super('Graft is not responding.', options);
    this.name = 'NoAnswer';
  }
}

/**
 * Sends a request and returns the response, regardless of its status. Browsers differ in their message for a
 * failed connection, so it is replaced.
 */
async function ask(path: string, init: RequestInit): Promise<Response> {
  try {
    const response = await fetch(path, init);
    if (response.status < 500) answered();
    return response;
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    void probe();
    throw new NoAnswer({ cause });
  }
}

/** Reads the error of a failed response. */
export async function refusal(response: Response): Promise<ApiError> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as ErrorBody;
    const { message, param, code, columns, suggested_columns: suggested = null } = error;
    const table = columns ? { columns, suggested } : null;
    const after = Number(response.headers.get('retry-after')) || null;
    return new ApiError(response.status, message, param, code, table, after);
  } catch {
    return new ApiError(
      response.status,
      `The server returned HTTP ${response.status}.`,
      null,
      null,
    );
  }
}

/**
 * Sends one request to /v1 with this tab's key, unless another is given. Signs out if the key is
 * rejected.
 * @throws ApiError for every error status, and NoAnswer if there is no response
 */
export async function request(
  path: string,
  init: RequestInit = {},
  key = apiKey(),
): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set('authorization', `Bearer ${key ?? ''}`);
  const response = await ask(`/v1${path}`, { ...init, headers });
  if (response.status === 401) keyRefused(key);
  if (!response.ok) throw await refusal(response);
  return response;
}

export const get = async <T>(path: string): Promise<T> =>
  (await request(path)).json() as Promise<T>;

export async function post<T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method: 'POST', ...(signal && { signal }) };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { 'content-type': 'application/json' };
  }
  return (await request(path, init)).json() as Promise<T>;
}

export const remove = async (path: string): Promise<void> =>
  void (await request(path, { method: 'DELETE' }));

/**
 * Loads all pages of a list, one after the other.
 * @param known items that are already loaded. Set it only if items never change and new ones come
 * first: loading stops at them.
 */
export async function all<T extends { readonly id: string }>(
  path: string,
  known: readonly T[] = [],
): Promise<readonly T[]> {
  const list: T[] = [];
  let page: Page<T>;
  do {
    const after = list.at(-1)?.id;
    const next = after === undefined ? '' : `&after=${encodeURIComponent(after)}`;
    page = await get<Page<T>>(`${path}${path.includes('?') ? '&' : '?'}limit=100${next}`);
    list.push(...page.data);
    const last = list.at(-1)?.id;
    const at = known.findIndex(({ id }) => id === last);
    if (at >= 0) return [...list, ...known.slice(at + 1)];
  } while (page.has_more && page.data.length > 0);
  return list;
}
