import { DomainError } from '@graft/contracts';
import { statfs } from 'node:fs/promises';

const RESERVE_SHARE = 0.02;
const MOST_RESERVE = 1e9;
/** How far ahead of what has come an upload holds room; the disk is looked at again then, as others write to it too. */
const SLICE_BYTES = 16 * 1024 * 1024;

/** Room on a disk for what is being written. A reserve stays, so that the database and running jobs can still write. */
export class DiskSpace {
  /** Of all uploads under way: bytes that are still to be written. */
  private held = 0;

  constructor(private readonly folder: string) {}

  /**
   * Holds nothing yet: what is announced may never come.
   * @param bytes what is to come; null where nobody knows
   * @throws DomainError disk_full, or file_too_large where it never fits
   */
  async claim(bytes: number | null): Promise<Claim> {
    const { free, total, reserve } = await this.look();
    const needed = bytes ?? 0;
    if (needed > total - reserve)
      throw new DomainError(
        'file_too_large',
        `${needed} bytes do not fit on the server's disk, however empty it is`,
      );
    if (free < reserve || needed > free - reserve) throw noRoom();
    return new Claim(this, bytes ?? Infinity);
  }

  /**
   * Holds what is needed now, and of what is wanted soon a slice, or what there is.
   * @returns bytes that are held from now on
   * @throws DomainError disk_full when that would touch the reserve
   */
  async hold(needed: number, wanted: number): Promise<number> {
    const { free, reserve } = await this.look();
    const left = free - reserve - this.held;
    if (needed > left) throw noRoom();
    const bytes = Math.max(needed, Math.min(wanted, SLICE_BYTES, left));
    this.held += bytes;
    return bytes;
  }

  give(bytes: number): void {
    this.held -= bytes;
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
  private held = 0;

  constructor(
    private readonly disk: DiskSpace,
    private toCome: number,
  ) {}

  /** Before so many bytes are written. */
  async use(bytes: number): Promise<void> {
    if (bytes > this.held)
      this.held += await this.disk.hold(bytes - this.held, this.toCome - this.held);
    this.held -= bytes;
    this.toCome -= bytes;
    this.disk.give(bytes);
  }

  release(): void {
    this.disk.give(this.held);
    this.held = 0;
  }
}

/** Without figures: how full the server is, and what others upload, is no stranger's business. */
const noRoom = (): DomainError =>
  new DomainError('disk_full', "the server's disk has no room for this; try again later");
