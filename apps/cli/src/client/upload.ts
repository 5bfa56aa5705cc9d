import type { FileObject } from '@graft/contracts';
import { InvalidArgumentError } from 'commander';
import { ApiError, sizeOf, type Api } from './api.js';
import { CliError } from '../cli-error.js';
import { isFolder, zipped } from './dataset-folder.js';
import { uploadInParts, WHOLE_BYTES } from './part-upload.js';

/** Column of a table by field of the examples. */
export type Mapping = Readonly<Record<string, string>>;

export const MAP_HELP =
  'map a field to a table column, such as text=message or label=category (repeatable)';

/** Names of the request field that maps columns: of a file upload, and of an upload in parts. */
const COLUMN_PARAMETERS = ['columns', 'graft.columns'];

/** `--map prompt=question --map completion=answer`. */
export function mapped(value: string, before: Mapping): Mapping {
  const [, part, column] = /^(\w+)=(.+)$/.exec(value) ?? [];
  if (part === undefined || column === undefined)
    throw new InvalidArgumentError(
      'Expected FIELD=COLUMN, such as text=message or label=category.',
    );
  return { ...before, [part]: column };
}

/** Rejection of a table whose columns have no clear meaning. */
export class ColumnsError extends CliError {
  constructor(
    path: string,
    readonly reason: string,
    readonly suggested: Mapping | null,
  ) {
    super(`${path}: ${reason}\nMap its columns: ${flags(suggested)}`);
  }
}

/** Uploads a file or a dataset folder as training data. @throws ColumnsError that suggests --map flags if the columns of a table are unknown */
export async function uploaded(api: Api, path: string, columns: Mapping): Promise<FileObject> {
  if (isFolder(path)) return zipped(path, (zip) => uploaded(api, zip, columns));
  try {
    return (await sizeOf(path)) > WHOLE_BYTES
      ? await uploadInParts(api, path, columns)
      : await api.upload(path, columns);
  } catch (error) {
    if (error instanceof ApiError && COLUMN_PARAMETERS.includes(error.param ?? ''))
      throw new ColumnsError(path, error.message, error.suggestedColumns);
    throw error;
  }
}

/** Flags for the suggested columns, or for the most common fields. */
function flags(suggested: Mapping | null): string {
  if (suggested === null)
    return '--map text=COLUMN --map label=COLUMN, --map prompt=COLUMN --map completion=COLUMN, or --map text=COLUMN';
  return Object.entries(suggested)
    .map(([field, column]) => `--map ${quoted(`${field}=${column}`)}`)
    .join(' ');
}

/** Word quoted for a shell. */
export const quoted = (word: string): string =>
  /^[\w=.,:/@+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
