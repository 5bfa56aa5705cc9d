// Recognizes the files of an adapter in an upload: its two files, or a zip with both.
import { DomainError } from '@graft/contracts';

export const CONFIG = 'adapter_config.json';
export const WEIGHTS = 'adapter_model.safetensors';
/** config.json of the base, for the inspection of an adapter. */
export const BASE_CONFIG = 'base_config.json';
export type AdapterFile = typeof CONFIG | typeof WEIGHTS;

/** Other files in PEFT's folders, which are ignored. */
const IGNORED = /\.(md|txt|json|jinja|csv|model)$|^\.|\.gitattributes$/;
const PICKLE = /\.(bin|pt|pth|ckpt|pkl|pickle|joblib|npy|npz|h5|msgpack)$/i;

export const isZip = (filename: string): boolean => /\.zip$/i.test(filename);

/** @throws DomainError for a file that is neither of the two */
export function wantedName(filename: string): AdapterFile {
  const name = baseName(filename);
  if (name === CONFIG || name === WEIGHTS) return name;
  rejectPickle(name);
  const message = `expected ${CONFIG} and ${WEIGHTS}, or one .zip with both, got ${JSON.stringify(name)}`;
  throw new DomainError('invalid_adapter', message, 'file');
}

export const baseName = (path: string): string =>
  path.slice(path.lastIndexOf('/') + 1).slice(0, 200);

export const isIgnored = (name: string): boolean =>
  name !== CONFIG && name !== WEIGHTS && IGNORED.test(name);

function rejectPickle(name: string): void {
  if (!PICKLE.test(name)) return;
  const message = `${name} may be a pickle file, which can run code; convert it to safetensors (PEFT's save_pretrained does)`;
  throw new DomainError('invalid_adapter', message, 'file');
}
