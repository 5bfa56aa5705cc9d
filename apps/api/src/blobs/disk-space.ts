import { DomainError } from '@graft/contracts';
import { statfs } from 'node:fs/promises';

const RESERVE_SHARE = 0.02;
const MOST_RESERVE = 1e9;
/** Others write to the disk too, the database above all: it is looked at again after so much. */
const LOOK_BYTES = 16 * 1024 * 1024;

/** Room on a disk for what is being written. A reserve stays, so that the database and running jobs can still write. */
export class DiskSpace {
  /** Of what is on its way with a known size: bytes that are still to be written. */
  private promised = 0;

  constructor(private readonly folder: string) {}

  /**
   * @param bytes what is to come; null where nobody knows
   * @throws DomainError disk_full, or file_too_large where it never fits
   */
  async claim(bytes: number | null): Promise<Claim> {
    const needed = bytes ?? 0;
    const { free, total, reserve } = await this.look();
    if (needed > total - reserve)
      throw new DomainError(
        'file_too_large',
        `${needed} bytes do not fit on the server's disk, which has ${total}`,
      );
    const left = Math.max(0, free - reserve - this.promised);
    if (free < reserve || needed > left)
      throw new DomainError(
        'disk_full',
        `${needed} bytes are needed and ${left} are free on the server's disk beside ${this.promised} for other uploads and a reserve of ${reserve}`,
      );
    this.promised += needed;
    return new Claim(this, needed);
  }

  /** @throws DomainError disk_full when the reserve is touched */
  async check(): Promise<void> {
    const { free, reserve } = await this.look();
    if (free < reserve)
      throw new DomainError(
        'disk_full',
        `only ${free} bytes are free on the server's disk; ${reserve} are kept in reserve`,
      );
  }

  give(bytes: number): void {
    this.promised -= bytes;
  }

  private async look(): Promise<{ free: number; total: number; reserve: number }> {
    const disk = await statfs(this.folder);
    const total = disk.blocks * disk.bsize;
    return {
      free: disk.bavail * disk.bsize,
      total,
      reserve: Math.round(Math.min(RESERVE_SHARE * total, MOST_RESERVE)),
    };
  }
}

/** Room that one upload holds until it is given back. */
export class Claim {
  private unlooked = 0;

  constructor(
    private readonly disk: DiskSpace,
    private left: number,
  ) {}

  /** Before so many bytes are written. */
  async use(bytes: number): Promise<void> {
    const used = Math.min(bytes, this.left);
    this.left -= used;
    this.disk.give(used);
    this.unlooked += bytes;
    if (this.unlooked < LOOK_BYTES) return;
    this.unlooked = 0;
    await this.disk.check();
  }

  release(): void {
    this.disk.give(this.left);
    this.left = 0;
  }
}
