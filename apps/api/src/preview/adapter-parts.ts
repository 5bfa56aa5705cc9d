// Adapters that the job's adapter consists of (X-LoRA). The job names them, or the initial adapter contains
// them.
import { DomainError, type Spec } from '@graft/contracts';
import type { Principal } from '../auth/principal.js';
import { namedAdapters } from '../catalog/plugins.js';
import type { StoredFile } from '../database/entities/storage.js';
import type { ModelsService, Resolved } from '../models/models.service.js';

export interface AdapterPart {
  /** Model that the files belong to, and the field that named it. */
  readonly id: string;
  readonly param: string;
  readonly config: NonNullable<Spec['peft']>;
  /** Names start with the index of the part and a slash. */
  readonly files: readonly StoredFile[];
}

interface AdapterRequest {
  readonly peft: Spec['peft'];
  readonly base: Resolved;
  /** Initial adapter. */
  readonly start: Resolved | null;
}

const READ = ['adapter_config.json', 'adapter_model.safetensors'];

/** Whether a file belongs to an adapter that is a part of another one. */
export const isOfPart = ({ name }: StoredFile): boolean => name.includes('/');

/** @throws DomainError that names an adapter that does not fit the base */
export async function adapterParts(
  models: ModelsService,
  caller: Principal,
  { peft, base, start }: AdapterRequest,
): Promise<AdapterPart[]> {
  const parts: AdapterPart[] = [];
  for (const [i, name] of namedAdapters(peft).entries()) {
    const [id, param] = start ? [start.id, 'graft.init_adapter'] : [name, `peft.adapters.${i}`];
    const files = start ? inFolder(start, i) : await named(models, caller, { name, param, base });
    const config = await models.configIn(files, param);
    if (config === null)
      throw new DomainError('invalid_adapter', `${id} is a whole model, not an adapter`, param);
    const placed = files.map((file) => ({ ...file, name: `${i}/${file.name}` }));
    parts.push({ id, param, config, files: placed });
  }
  return parts;
}

const inFolder = ({ adapter }: Resolved, part: number): StoredFile[] =>
  adapter
    .filter(({ name }) => name.startsWith(`${part}/`))
    .map((file) => ({ ...file, name: file.name.slice(`${part}/`.length) }));

async function named(
  models: ModelsService,
  caller: Principal,
  { name, param, base }: { readonly name: string; readonly param: string; readonly base: Resolved },
): Promise<StoredFile[]> {
  const { adapter, base: own } = await models.resolve(caller, name, param);
  const refuse = (message: string): never => {
    throw new DomainError('invalid_adapter', message, param);
  };
  if (adapter.length === 0) refuse(`${name} is a base model, not an adapter`);
  if (own.id !== base.base.id) refuse(`${name} was trained on ${own.id}, not on ${base.base.id}`);
  return adapter.filter((file) => READ.includes(file.name));
}
