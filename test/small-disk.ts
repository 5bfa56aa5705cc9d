// A disk of a few megabytes that a test can fill: a tmpfs, which needs root.
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class SmallDisk {
  private constructor(readonly path: string) {}

  static mount(path: string, megabytes: number): SmallDisk {
    mkdirSync(path, { recursive: true });
    const options = ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=755`, 'graft-test', path];
    execFileSync('mount', options, { stdio: 'ignore' });
    return new SmallDisk(path);
  }

  /** Mounts one over an API's blobs and copies the marker by which the API recognizes them. */
  static mountOverBlobs(blobs: string, megabytes: number): SmallDisk {
    const marker = readFileSync(join(blobs, 'installation'));
    const disk = SmallDisk.mount(blobs, megabytes);
    mkdirSync(join(blobs, 'incoming'));
    writeFileSync(join(blobs, 'installation'), marker);
    return disk;
  }

  get free(): number {
    const { bavail, bsize } = statfsSync(this.path);
    return bavail * bsize;
  }

  private get ballast(): string {
    return join(this.path, 'ballast');
  }

  /** Fills the disk except for a number of bytes, rounded to pages. */
  fill(leave = 0): void {
    const file = openSync(this.ballast, 'a');
    try {
      for (let rest = this.free - leave; rest > 0; rest = this.free - leave)
        writeSync(file, Buffer.alloc(Math.min(rest, 1 << 20)));
    } finally {
      closeSync(file);
    }
  }

  empty(): void {
    rmSync(this.ballast, { force: true });
  }

  unmount(): void {
    execFileSync('umount', ['-l', this.path], { stdio: 'ignore' });
  }
}

/** Whether this process may mount a tmpfs. */
export const canMount = ((): boolean => {
  const probe = mkdtempSync(join(tmpdir(), 'graft-disk-'));
  try {
    SmallDisk.mount(probe, 1).unmount();
    return true;
  } catch {
    return false;
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
})();
