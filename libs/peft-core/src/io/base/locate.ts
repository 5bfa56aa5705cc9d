import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { invalid } from './weight-files.js';

/** Finds the folder or the .gguf file to load. Loads no native code. @throws DomainError `invalid_model` */
export function locate(path: string): string {
  if (!existsSync(path)) throw invalid(`${path} does not exist`);
  if (!statSync(path).isDirectory()) {
    if (path.endsWith('.gguf')) return path;
    throw invalid(`${path} is neither a directory nor a .gguf file`);
  }
  if (existsSync(join(path, 'config.json'))) return path;
  const found = readdirSync(path).filter((name) => name.endsWith('.gguf'));
  if (found.length === 1) return join(path, found[0] as string);
  throw invalid(
    found.length
      ? `${path} has ${found.length} .gguf files; specify one`
      : `${path} has no config.json`,
  );
}
