// Rejects files with lines whose images or audio cannot be used.
import { DomainError } from '@graft/contracts';
import { linesInWords } from './line-ranges.js';

/** Maximum number of lines that an error names one by one. */
const NAMED = 5;

/**
 * Rejects a file with unusable lines.
 * @throws DomainError `invalid_training_file` that names the lines and the problem of the first one
 */
export function refuseBroken(broken: ReadonlyMap<number, string>, param: string): void {
  if (broken.size === 0) return;
  const named = [...broken].slice(0, NAMED).map(([line, problem]) => `line ${line}: ${problem}`);
  const more = [...broken.keys()].slice(NAMED);
  const rest = more.length > 0 ? `; and ${more.length} more lines with such problems: ${linesInWords(more)}` : ''; // prettier-ignore
  throw new DomainError('invalid_training_file', `${named.join('; ')}${rest}`, param);
}
