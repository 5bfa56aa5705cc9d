import { readFileSync } from 'node:fs';
import { CliError, EXIT } from '../cli-error.js';

export type Body = Record<string, unknown>;

/** Reads the body of a request from a JSON file. @param of name of the request, for error messages */
export function readBody(file: string, of: string): Body {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Body;
  } catch (error) {
    throw new CliError(`cannot read ${file}: ${(error as Error).message}`, EXIT.usage);
  }
  throw new CliError(`${file}: expected a JSON object, the body of ${of}`, EXIT.usage);
}
