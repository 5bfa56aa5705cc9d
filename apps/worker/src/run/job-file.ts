// Reads the body of a create-job call from a file, with `dir:PATH` and file paths where the API has ids.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { CreateJob, DomainError, plainWords, type Spec } from '@graft/contracts';
import { resolveSpec } from '@graft/peft-core/catalog';

export interface LocalJob {
  readonly spec: Spec;
  /** Folder or .gguf of the base. */
  readonly basePath: string;
  readonly trainFile: string;
  readonly validFile: string | null;
  readonly initAdapterDir: string | null;
}

/** @throws DomainError naming the field that is wrong */
export function readJobFile(path: string): LocalJob {
  const body = parse(path);
  const find = (value: string, param: string): string =>
    existing(value, param, dirname(resolve(path)));
  const local = (value: string, param: string): string => {
    if (!value.startsWith('dir:')) {
      throw new DomainError(
        'invalid_value',
        `${param} is ${JSON.stringify(value)}; a local run takes "dir:PATH"`,
        param,
      );
    }
    return find(value.slice(4), param);
  };
  const trainFile = find(body.training_file, 'training_file');
  const init = body.graft?.init_adapter;
  return {
    spec: resolveSpec(body, { trainingRecords: countRecords(trainFile) }),
    basePath: local(body.model, 'model'),
    trainFile,
    validFile: body.validation_file ? find(body.validation_file, 'validation_file') : null,
    initAdapterDir: init === undefined ? null : local(init, 'graft.init_adapter'),
  };
}

function parse(path: string): CreateJob {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new DomainError('file_not_found', `there is no job file ${path}`);
    throw new DomainError('invalid_json', `${path} is not JSON: ${message}`);
  }
  const parsed = CreateJob.safeParse(json, { error: plainWords });
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const param =
    issue?.code === 'unrecognized_keys'
      ? [...issue.path, issue.keys[0]].join('.')
      : issue?.path.join('.');
  throw new DomainError(
    'invalid_value',
    `${param ? `${param}: ` : ''}${issue?.message ?? 'not a job'}`,
    param || null,
  );
}

/** A path as given, or else relative to the job file. */
function existing(value: string, param: string, folder: string): string {
  for (const candidate of [resolve(value), resolve(folder, value)])
    if (existsSync(candidate)) return candidate;
  throw new DomainError(
    'file_not_found',
    `${param}: there is no ${value} (looked here and beside the job file)`,
    param,
  );
}

function countRecords(path: string): number {
  const text = readFileSync(path);
  let count = 0;
  let blank = true;
  for (const byte of text) {
    if (byte === 10) {
      if (!blank) count++;
      blank = true;
    } else if (byte !== 13 && byte !== 32 && byte !== 9) blank = false;
  }
  return blank ? count : count + 1;
}
