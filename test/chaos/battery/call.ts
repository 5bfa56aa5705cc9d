// API calls of the battery's clients. Each request goes to one of the two API processes.
import type { Cluster } from './cluster.js';
import type { Random } from './random.js';

const ANSWER_MS = 15_000;

export interface Answer {
  readonly id?: string;
  readonly status?: string;
}

export interface CallOptions {
  readonly method?: string;
  readonly path: string;
  /** Request body: a `FormData` is sent as a form, anything else as JSON. */
  readonly body?: object;
  /** Value of the Idempotency-Key header. */
  readonly key?: string;
  /** URL of the API process; by default, a random one. */
  readonly url?: string;
}

/** @throws Error with the `status` of the response, or without one if there was no response */
export async function call<Body = Answer>(
  cluster: Cluster,
  random: Random,
  { method = 'GET', path, body, key, url = random.of(cluster.apis).url }: CallOptions,
): Promise<Body> {
  const isForm = body instanceof FormData;
  const response = await fetch(`${url}/v1${path}`, {
    method,
    headers: {
      ...cluster.headers,
      ...(isForm ? {} : { 'content-type': 'application/json' }),
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    },
    ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  const answer = (await response.json()) as Body & { error?: { message: string } };
  if (!response.ok)
    throw Object.assign(new Error(answer.error?.message ?? 'refused'), {
      status: response.status,
    });
  return answer;
}
