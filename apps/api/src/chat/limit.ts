// How long an answer may become, and whether the model has room for that.
import { DomainError } from '@graft/contracts';
import { windowOf } from '../catalog/plugins.js';
import type { Resolved } from '../models/models.service.js';

/** What was asked for, and the field that said it. */
export interface Limit {
  readonly tokens: number;
  readonly param: string;
}

const FIELDS = ['max_completion_tokens', 'max_tokens'] as const;

export function limitOf(
  asked: Readonly<Partial<Record<(typeof FIELDS)[number], number | null | undefined>>>,
): Limit | null {
  for (const param of FIELDS) {
    const tokens = asked[param];
    if (tokens != null) return { tokens, param };
  }
  return null;
}

/** @throws DomainError for a limit that no answer of the model can reach */
export function checkWindow({ tokens, param }: Limit, { id, base: { config } }: Resolved): void {
  const most = config === null ? Infinity : windowOf(config);
  if (tokens <= most) return;
  throw new DomainError(
    'invalid_value',
    `${param} is ${tokens}, but ${id} supports at most ${most} tokens, prompt and answer together; lower it or leave it out`,
    param,
  );
}
