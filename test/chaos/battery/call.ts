// How the battery's clients call the API: each request goes to either process.
import type { Cluster } from './cluster.js';
import type { Random } from './random.js';

const ANSWER_MS = 15_000;

export interface Answer {
  readonly id?: string;
  readonly status?: string;
}

export interface Asked {
  readonly method?: string;
  readonly path: string;
  /** Sent as JSON, or as it is where it is a form. */
  readonly body?: object;
  /** Idempotency-Key. */
  readonly key?: string;
  /** Of the API process; absent: either. */
  readonly url?: string;
}

/** @throws Error with the `status` of a refusal, or without one where nobody answered */
export async function call<Body = Answer>(
  cluster: Cluster,
  random: Random,
  { method = 'GET', path, body, key, url = random.of(cluster.apis).url }: Asked,
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
