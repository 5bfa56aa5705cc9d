// Fields of an upload's form.
import { DomainError } from '@graft/contracts';
import type { Columns } from '../catalog/plugins.js';

export const TRAINING_PURPOSE = 'fine-tune';
export const EVALS_PURPOSE = 'evals';
export const BATCH_PURPOSE = 'batch';
export const RESULT_PURPOSE = 'fine-tune-results';
export const BATCH_OUTPUT_PURPOSE = 'batch_output';

/** Purposes of uploads. Graft supports only these of OpenAI's. */
export const UPLOAD_PURPOSES = [TRAINING_PURPOSE, EVALS_PURPOSE, BATCH_PURPOSE] as const;

const oneOf = new Intl.ListFormat('en', { type: 'disjunction' });

type Fields = Readonly<Record<string, string>>;

/** Validates the purpose. */
export function checkPurpose({ purpose }: Fields): string {
  if (!purpose)
    throw new DomainError('missing_required_parameter', 'purpose is required', 'purpose');
  if (UPLOAD_PURPOSES.some((one) => one === purpose)) return purpose;
  throw new DomainError(
    'invalid_value',
    `purpose must be ${oneOf.format(UPLOAD_PURPOSES)} (got ${purpose.slice(0, 40)})`,
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
