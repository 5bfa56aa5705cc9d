// Fields of an upload's form.
import { DomainError } from '@graft/contracts';
import type { Columns } from '../catalog/plugins.js';

export const TRAINING_PURPOSE = 'fine-tune';
export const EVALS_PURPOSE = 'evals';
export const RESULT_PURPOSE = 'fine-tune-results';

type Fields = Readonly<Record<string, string>>;

/** Validates the purpose. Graft supports only these of OpenAI's purposes. */
export function checkPurpose({ purpose }: Fields): string {
  if (!purpose)
    throw new DomainError('missing_required_parameter', 'purpose is required', 'purpose');
  if (purpose === TRAINING_PURPOSE || purpose === EVALS_PURPOSE) return purpose;
  throw new DomainError(
    'invalid_value',
    `purpose must be ${TRAINING_PURPOSE} or ${EVALS_PURPOSE} (got ${purpose.slice(0, 40)})`,
    'purpose',
  );
}

/** Reads fields such as `columns[prompt]=question`. */
export function columnsOf(fields: Fields): Columns {
  const columns: Record<string, string> = {};
  for (const [field, name] of Object.entries(fields)) {
    const part = /^columns\[(.*)\]$/.exec(field)?.[1];
    if (part !== undefined) columns[part] = name;
  }
  return columns;
}

/** Returns the lifetime of the file in seconds, or null if it does not expire. */
export function lifetime(fields: Fields): number | null {
  const seconds = fields['expires_after[seconds]'];
  if (seconds === undefined) return null;
  const value = Number(seconds);
  if (!Number.isInteger(value) || value < 3600 || value > 2_592_000) {
    throw new DomainError(
      'invalid_value',
      `expires_after.seconds must be an integer from 3600 to 2592000 (got ${seconds})`,
      'expires_after.seconds',
    );
  }
  return value;
}
