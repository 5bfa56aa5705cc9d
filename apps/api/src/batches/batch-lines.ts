import { DomainError, type BatchEndpoint } from '@graft/contracts';
import { z } from 'zod';
import { lineRows } from '../files/rows/json-rows.js';

/** Maximum number of requests of a batch, as at OpenAI. */
export const MOST_LINES = 50_000;
/** Maximum number of keys of an object in a request, such as a JSON schema. */
const MOST_KEYS = 1000;

const Line = z.object({
  custom_id: z.string().min(1).max(512),
  method: z.literal('POST'),
  url: z.string(),
  body: z.looseObject({ model: z.string().min(1).max(300) }),
});

/** Request of a batch. */
export interface BatchLine {
  /** Line of the input file, from 1. */
  readonly number: number;
  readonly customId: string;
  readonly url: string;
  readonly body: Readonly<Record<string, unknown>> & { readonly model: string };
}

/** Line that is not a request, and why. */
export interface BadLine {
  readonly number: number;
  readonly error: DomainError;
}

/**
 * Yields the requests of an input file, and the lines that are none. Blank lines are skipped.
 * @param without numbers of lines to skip without parsing them
 */
export async function* batchLines(
  content: AsyncIterable<Buffer>,
  without?: ReadonlySet<number>,
): AsyncGenerator<BatchLine | BadLine> {
  for await (const { number, row, reason } of lineRows(content, MOST_KEYS, without)) {
    const bad = (message: string, param: string | null): BadLine => ({
      number,
      error: new DomainError('invalid_value', message, param),
    });
    if (row === null) {
      yield bad(reason ?? 'not a JSON object', null);
      continue;
    }
    const { success, data, error } = Line.safeParse(row);
    if (success) yield { number, customId: data.custom_id, url: data.url, body: data.body };
    else {
      const [issue] = error.issues;
      const param = issue?.path.join('.') ?? '';
      yield bad(`${param}: ${issue?.message ?? 'wrong'}`, param);
    }
  }
}

/**
 * Checks that a request may be in a batch.
 * @throws DomainError
 */
export function checkLine({ url, body }: BatchLine, endpoint: BatchEndpoint): void {
  if (url !== endpoint)
    throw new DomainError(
      'invalid_value',
      `url: expected ${endpoint}, the endpoint of the batch, got ${url.slice(0, 60)}`,
      'url',
    );
  for (const field of ['stream', 'background'])
    if (body[field] === true)
      throw new DomainError(
        'unsupported',
        `body.${field}: not supported in batches; leave it out`,
        `body.${field}`,
      );
}
