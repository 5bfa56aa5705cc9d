import type { FileObject } from '@graft/contracts';
import { InvalidArgumentError } from 'commander';
import { ApiError, sizeOf, type Api } from './api.js';
import { CliError } from '../cli-error.js';
import { isFolder, zipped } from './dataset-folder.js';
import { uploadInParts, WHOLE_BYTES } from './part-upload.js';

/** Which column of a table is what. */
export type Mapping = Readonly<Record<string, string>>;

export const MAP_HELP =
  'map a field of the examples to a table column, such as text=message or label=category (repeatable)';

/** The field that says which column is what: of a file sent whole, and of one sent in parts. */
const OF_COLUMNS = ['columns', 'graft.columns'];

/** `--map prompt=question --map completion=answer`. */
export function mapped(value: string, before: Mapping): Mapping {
  const [, part, column] = /^(\w+)=(.+)$/.exec(value) ?? [];
  if (part === undefined || column === undefined)
    throw new InvalidArgumentError(
      'Expected FIELD=COLUMN, such as text=message or label=category.',
    );
  return { ...before, [part]: column };
}

/** Uploads a file, or a folder of a dataset, as training data. @throws CliError that tells of --map, where a table's columns are not known */
export async function uploaded(api: Api, path: string, columns: Mapping): Promise<FileObject> {
  if (isFolder(path)) return zipped(path, (zip) => uploaded(api, zip, columns));
  try {
    return (await sizeOf(path)) > WHOLE_BYTES
      ? await uploadInParts(api, path, columns)
      : await api.upload(path, columns);
  } catch (error) {
    if (error instanceof ApiError && OF_COLUMNS.includes(error.param ?? ''))
      throw new CliError(`${path}: ${error.message}\nWith graft: ${flags(error.suggestedColumns)}`);
    throw error;
  }
}

/** Which flags may be meant, or the forms that there are most often. */
function flags(suggested: Mapping | null): string {
  if (suggested === null)
    return '--map text=COLUMN --map label=COLUMN, --map prompt=COLUMN --map completion=COLUMN, or --map text=COLUMN';
  return Object.entries(suggested)
    .map(([field, column]) => `--map ${quoted(`${field}=${column}`)}`)
    .join(' ');
}

/** As a shell takes it. */
const quoted = (word: string): string =>
  /^[\w=.,:/@+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
