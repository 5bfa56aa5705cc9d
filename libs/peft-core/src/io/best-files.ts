// The adapter of a run's best evaluation in PEFT's format: in a folder next to the checkpoints, and in each
// later checkpoint. A run that resumes from one, on any machine, ends with the same bytes.
import { copyFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { commitFolder, MANIFEST, type FileFact } from './commit-folder.js';

/** File of a checkpoint in addition to its manifest and the adapter's files. */
export const STATE = 'state.safetensors';

/** Prefix of the best adapter's file names in a later checkpoint. */
const BEST = 'best.';

export class BestFiles {
  private readonly dir: string;

  /** @param workDir the run's folder */
  constructor(workDir: string) {
    this.dir = join(workDir, 'best');
  }

  /** Copies the adapter from the checkpoint of the best step. */
  take(checkpoint: string, files: readonly Pick<FileFact, 'name'>[]): void {
    const names = files.map(({ name }) => name);
    commitFolder(this.dir, (tmp) => copy(names, checkpoint, tmp), null);
  }

  /** @param isLater whether the checkpoint is of a later step */
  takeFromCheckpoint(checkpoint: string, isLater: boolean): void {
    const names = readdirSync(checkpoint);
    const own = isLater
      ? names.filter((name) => name.startsWith(BEST)).map((name) => name.slice(BEST.length))
      : names.filter((name) => name !== STATE && name !== MANIFEST);
    const prefix = isLater ? BEST : '';
    commitFolder(this.dir, (tmp) => copy(own, checkpoint, tmp, { from: prefix }), null);
  }

  putInCheckpoint(checkpoint: string): void {
    copy(readdirSync(this.dir), this.dir, checkpoint, { to: BEST });
  }

  copyTo(dir: string): void {
    copy(readdirSync(this.dir), this.dir, dir);
  }
}

/** @param prefixes prefixes of the names in the source and in the target */
function copy(
  names: readonly string[],
  from: string,
  to: string,
  prefixes: { readonly from?: string; readonly to?: string } = {},
): void {
  const { from: before = '', to: after = '' } = prefixes;
  for (const name of names) copyFileSync(join(from, before + name), join(to, after + name));
}
