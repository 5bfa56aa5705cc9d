// Stamps: a hash over the files that a step reads, kept when the step has succeeded. The step is up to
// date while the hash is the same and its outputs are there.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const NEVER = new Set(['node_modules', 'dist', 'dist-types', 'build', '.git']);

/** Hash over the contents and names of files and folders (taken recursively), without what builds make. */
export function hashPaths(root, paths) {
  const hash = createHash('sha256').update(process.version);
  for (const path of paths) {
    for (const file of filesUnder(root, path)) {
      hash.update(`\0${file}\0`).update(readFileSync(join(root, file)));
    }
  }
  return hash.digest('hex');
}

function filesUnder(root, path) {
  const full = join(root, path);
  if (!existsSync(full)) return [];
  if (!statSync(full).isDirectory()) return [path];
  return readdirSync(full)
    .filter((name) => !NEVER.has(name))
    .sort()
    .flatMap((name) => filesUnder(root, join(path, name)));
}

/** The stamps of one checkout, in one JSON file. */
export function stamps(file) {
  const read = () => {
    try {
      return JSON.parse(readFileSync(file, 'utf8'));
    } catch {
      return {}; // none yet, or cut off by a crash: everything is done again
    }
  };
  return {
    matches: (name, hash, outputs) =>
      read()[name] === hash && outputs.every((path) => existsSync(path)),
    write(name, hash) {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, `${JSON.stringify({ ...read(), [name]: hash }, null, 2)}\n`);
    },
  };
}
