import { DomainError } from '@graft/contracts';
import { statfs } from 'node:fs/promises';

/** What nothing that arrives may take of a disk: the database and running jobs write there, too. */
const RESERVE = { share: 0.02, most: 1e9 };
/** What uploads leave: in it, but for the reserve above, checkpoints and results still have room. */
const UPLOADS_RESERVE = { share: 0.05, most: 5e9 };
/** How far ahead of what has come an upload holds room; the disk is looked at again then, as others write to it too. */
const SLICE_BYTES = 16 * 1024 * 1024;
/** Whoever was refused may come again within this time. */
const REFUSED_MS = 3600 * 1000;

/** Room on a disk for what is being written, but for a reserve. */
export class DiskSpace {
  /** By uploader, bytes that are still to be written. */
  private readonly held = new Map<string | null, number>();
  /** What there was no room for last. */
  private refused: { bytes: number; uploader: string | null; at: number } | null = null;

  constructor(private readonly folder: string) {}

  /**
   * Holds nothing yet: what is announced may never come.
   * @param bytes what is to come; null where nobody knows
   * @param uploader whose uploads share room; null: workers' and the API's own, which have a reserve beside uploads
   * @throws DomainError disk_full, or file_too_large where it never fits
   */
  async claim(bytes: number | null, uploader: string | null = null): Promise<Claim> {
    const { free, total, reserve } = await this.look(uploader);
    const needed = bytes ?? 0;
    if (needed > total - reserve)
      throw new DomainError(
        'file_too_large',
        `${needed} bytes do not fit on the server's disk, however empty it is`,
      );
    if (free < reserve || needed > free - reserve) throw this.refuse(needed, uploader);
    return new Claim(this, uploader, bytes ?? Infinity);
  }

  /**
   * Holds what is needed now, and of what is wanted soon a slice. All that an uploader holds ahead is at most half of
   * what others leave: who has more under way holds less ahead, and nobody is refused for it.
   * @returns bytes that are held from now on
   * @throws DomainError disk_full when that would touch the reserve
   */
  async hold(uploader: string | null, needed: number, wanted: number): Promise<number> {
    const { free, reserve } = await this.look(uploader);
    const left = free - reserve - this.heldByAll;
    if (needed > left) throw this.refuse(needed, uploader);
    const own = this.held.get(uploader) ?? 0;
    const share = Math.floor((left - own) / 2);
    const bytes = Math.max(needed, Math.min(wanted, SLICE_BYTES, share));
    this.held.set(uploader, own + bytes);
    return bytes;
  }

  give(uploader: string | null, bytes: number): void {
    const rest = (this.held.get(uploader) ?? 0) - bytes;
    if (rest > 0) this.held.set(uploader, rest);
    else this.held.delete(uploader);
  }

  /** Whether there is still no room for what was refused within the last hour. */
  async lacksSpace(): Promise<boolean> {
    const { refused } = this;
    if (refused === null || performance.now() - refused.at > REFUSED_MS) return false;
    const { free, reserve } = await this.look(refused.uploader);
    return refused.bytes > free - reserve - this.heldByAll;
  }

  private get heldByAll(): number {
    return [...this.held.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  private refuse(bytes: number, uploader: string | null): DomainError {
    this.refused = { bytes, uploader, at: performance.now() };
    return diskFull();
  }

  private async look(
    uploader: string | null,
  ): Promise<{ free: number; total: number; reserve: number }> {
    const disk = await statfs(this.folder);
    const total = disk.blocks * disk.bsize;
    const { share, most } = uploader === null ? RESERVE : UPLOADS_RESERVE;
    return {
      free: disk.bavail * disk.bsize,
      total,
      reserve: Math.round(Math.min(share * total, most)),
    };
  }
}

/** Room that one upload holds until it is given back. */
export class Claim {
  private held = 0;

  constructor(
    private readonly disk: DiskSpace,
    private readonly uploader: string | null,
    private toCome: number,
  ) {}

  /** Before so many bytes are written. */
  async use(bytes: number): Promise<void> {
    if (bytes > this.held)
      this.held += await this.disk.hold(this.uploader, bytes - this.held, this.toCome - this.held);
    this.held -= bytes;
    this.toCome -= bytes;
    this.disk.give(this.uploader, bytes);
  }

  release(): void {
    this.disk.give(this.uploader, this.held);
    this.held = 0;
  }
}

/** Without figures: how full the server is, and what others upload, is no stranger's business. */
const diskFull = (): DomainError =>
  new DomainError('disk_full', "the server's disk has no room for this; try again later");
