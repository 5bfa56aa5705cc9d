/** Tokens that invoke an adapter (nn/sites/invocation.ts): checks of the models and targets that support them. */
import { DomainError } from '@graft/contracts';
import type { Model } from '../../models/model.js';
import type { TableShape } from '../../nn/outline/outline.js';

export const INVOCATION_FIELD = 'alora_invocation_tokens';

const refuse = (code: 'unsupported' | 'invalid_value', message: string): never => {
  throw new DomainError(code, message, `peft.${INVOCATION_FIELD}`);
};

/**
 * Checks that a model and its targets support invocation tokens.
 * @throws DomainError for tokens outside the vocabulary, and for targets that see single rows
 */
export function checkInvocation(
  tokens: readonly number[],
  { rows }: Pick<TableShape, 'rows'>,
  targets: readonly { readonly path: string; readonly role: string }[],
): void {
  const beyond = tokens.find((token) => token >= rows);
  if (beyond !== undefined)
    refuse(
      'invalid_value',
      `${INVOCATION_FIELD}: expected ids below ${rows}, the base's tokens, got ${beyond}`,
    );
  const head = targets.find(({ role }) => role === 'head');
  if (head)
    refuse(
      'unsupported',
      `${INVOCATION_FIELD} is not supported with ${head.path} in target_modules: the head receives single rows without their positions`,
    );
}

/** Sets the invocation tokens of a run. @throws DomainError for a model that does not generate text */
export function invoke(model: Model, run: number, tokens: readonly number[]): void {
  if (model.stacks.encoder || !model.outputHeads.has('lm'))
    refuse(
      'unsupported',
      `${INVOCATION_FIELD} is for models that continue a text, as in PEFT; leave it out`,
    );
  model.modules.invocation.attach(run, { tokens });
}
