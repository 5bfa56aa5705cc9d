// The adapter of a run's best evaluation, as PEFT reads it: in a folder beside the checkpoints, and in each checkpoint
// that comes after it. A run that goes on from one, on whichever machine, ends with the same bytes.
import { copyFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { commitFolder, MANIFEST, type FileFact } from './commit-folder.js';

/** What a checkpoint holds beside its manifest and the adapter's files. */
export const STATE = 'state.safetensors';

/** Before the names of its files in a later checkpoint. */
const BEST = 'best.';

export class BestFiles {
  private readonly dir: string;

  /** @param workDir of the run */
  constructor(workDir: string) {
    this.dir = join(workDir, 'best');
  }

  /** Those of the checkpoint of its own step. */
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

/** @param prefixes before each name, where it is and where it goes */
function copy(
  names: readonly string[],
  from: string,
  to: string,
  prefixes: { readonly from?: string; readonly to?: string } = {},
): void {
  const { from: before = '', to: after = '' } = prefixes;
  for (const name of names) copyFileSync(join(from, before + name), join(to, after + name));
}
