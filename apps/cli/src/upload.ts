import type { FileObject } from '@graft/contracts';
import { InvalidArgumentError } from 'commander';
import { ApiError, type Api } from './api.js';
import { CliError } from './cli-error.js';

/** Which column of a table is what. */
export type Mapping = Readonly<Record<string, string>>;

export const MAP_HELP =
  'which column of a table is the prompt, the completion or the text (repeatable)';

/** `--map prompt=question --map completion=answer`. */
export function mapped(value: string, before: Mapping): Mapping {
  const [, part, column] = /^(prompt|completion|text)=(.+)$/.exec(value) ?? [];
  if (part === undefined || column === undefined)
    throw new InvalidArgumentError('write prompt=COLUMN, completion=COLUMN or text=COLUMN');
  return { ...before, [part]: column };
}

/** Uploads a file as training data. @throws CliError that tells of --map, where a table's columns are not known */
export async function uploaded(api: Api, path: string, columns: Mapping): Promise<FileObject> {
  try {
    return await api.upload(path, columns);
  } catch (error) {
    if (error instanceof ApiError && error.param === 'columns')
      throw new CliError(
        `${path}: ${error.message}\nSay it with --map prompt=COLUMN --map completion=COLUMN, or --map text=COLUMN`,
      );
    throw error;
  }
}
