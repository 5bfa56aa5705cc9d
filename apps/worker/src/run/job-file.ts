// Reads the body of a create request from a file, with `dir:PATH` and file paths instead of the API's IDs.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { CreateJob, DomainError, parseBody, type Spec } from '@graft/contracts';
import {
  adapterConfig,
  continued,
  heldOut,
  holdsOutByDefault,
  inspectModelFolder,
  namedAdapters,
  peftFields,
  promptTasks,
  resolveSpec,
  splitOf,
  taskFor,
  withoutHeldOut,
  type JobFacts,
} from '@graft/peft-core/catalog';

export interface LocalJob {
  readonly spec: Spec;
  /** Folder or .gguf file of the base. */
  readonly basePath: string;
  readonly trainFile: string;
  readonly validFile: string | null;
  readonly initAdapterDir: string | null;
  /** Folders of the adapters that the job's adapter combines. */
  readonly adapterDirs: readonly string[];
}

/** @throws DomainError that names the invalid field */
export function readJobFile(path: string): LocalJob {
  const body = parse(path);
  const find = (value: string, param: string): string =>
    existing(value, param, dirname(resolve(path)));
  const local = (value: string, param: string): string => {
    if (!value.startsWith('dir:')) {
      throw new DomainError(
        'invalid_value',
        `${param} is ${JSON.stringify(value)}; a local run requires "dir:PATH"`,
        param,
      );
    }
    return find(value.slice(4), param);
  };
  if (body.graft?.eval !== undefined)
    throw new DomainError(
      'unsupported',
      'graft.eval: local runs do not support evals; remove it',
      'graft.eval',
    );
  const trainFile = find(body.training_file, 'training_file');
  const basePath = local(body.model, 'model');
  // Loading the base reports any problem with it.
  const { family: modelType } = inspectModelFolder(basePath);
  const init = body.graft?.init_adapter;
  const initAdapterDir = init === undefined ? null : local(init, 'graft.init_adapter');
  const spec = resolved(withInitAdapter(initAdapterDir, body), trainFile, {
    trainingRecords: countRecords(trainFile),
    warmStart: initAdapterDir !== null,
    ...(modelType === '' ? {} : { modelType }),
  });
  // An initial adapter has them in its folder.
  const adapterDirs = namedAdapters(spec.peft).map((name, i) =>
    initAdapterDir ? join(initAdapterDir, String(i)) : local(name, `peft.adapters.${i}`),
  );
  const adapters = adapterDirs.map(configIn);
  return {
    spec: { ...spec, ...(adapters.length > 0 && { adapters }) },
    basePath,
    trainFile,
    validFile: body.validation_file ? find(body.validation_file, 'validation_file') : null,
    initAdapterDir,
    adapterDirs,
  };
}

/** Resolves the Spec, without the default validation split if no record can be held out. */
function resolved(body: CreateJob, trainFile: string, facts: JobFacts): Spec {
  const spec = resolveSpec(body, facts);
  if (!holdsOutByDefault(body, facts) || canHoldOut(spec, trainFile)) return spec;
  return resolveSpec(withoutHeldOut(body), facts);
}

function canHoldOut(spec: Spec, trainFile: string): boolean {
  const use = { task: taskFor(spec.task), tasks: promptTasks(spec.peft) };
  const split = splitOf(spec);
  try {
    return split !== null && heldOut(trainFile, use, split).size > 0;
  } catch (error) {
    if (error instanceof DomainError && error.param === 'graft.validation_split') return false;
    throw error;
  }
}

/** Fills in missing fields of `peft` from the config of the initial adapter. A full model has no such config. */
function withInitAdapter(dir: string | null, body: CreateJob): CreateJob {
  const config = dir === null ? null : join(dir, 'adapter_config.json');
  if (config === null || !existsSync(config)) return body;
  return {
    ...body,
    peft: continued(body.peft, adapterConfig(readFileSync(config, 'utf8'), config)),
  };
}

function configIn(dir: string): NonNullable<Spec['peft']> {
  const path = join(dir, 'adapter_config.json');
  if (!existsSync(path)) throw new DomainError('invalid_adapter', `${path} does not exist`);
  return adapterConfig(readFileSync(path, 'utf8'), path);
}

function parse(path: string): CreateJob {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT')
      throw new DomainError('file_not_found', `the job file ${path} does not exist`);
    throw new DomainError('invalid_json', `${path} is not JSON: ${message}`);
  }
  return parseBody(CreateJob, json, peftFields);
}

/** Returns the path if it exists, relative to the current folder or to the job file. */
function existing(value: string, param: string, folder: string): string {
  for (const candidate of [resolve(value), resolve(folder, value)])
    if (existsSync(candidate)) return candidate;
  throw new DomainError(
    'file_not_found',
    `${param}: ${value} does not exist, neither in the current folder nor in the folder of the job file`,
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
