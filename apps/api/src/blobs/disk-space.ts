import { DomainError } from '@graft/contracts';
import { statfs } from 'node:fs/promises';

/** Space that incoming data must leave free, because the database and running jobs also write to the disk. */
const RESERVE = { share: 0.02, most: 1e9 };
/** Space that uploads must leave free. Checkpoints and results may use it, except for the reserve above. */
const UPLOADS_RESERVE = { share: 0.05, most: 5e9 };
/** Bytes that an upload reserves ahead. The disk is checked again after each slice, as others write to it too. */
const SLICE_BYTES = 16 * 1024 * 1024;
/** Time within which a rejected upload is expected to be retried. */
const REFUSED_MS = 3600 * 1000;

/** Reservations of disk space for data that is being written. */
export class DiskSpace {
  /** Reserved bytes that are still to be written, by uploader. */
  private readonly reservedBytes = new Map<string | null, number>();
  /** The latest request that was rejected for lack of space. */
  private lastRejection: { bytes: number; uploader: string | null; at: number } | null = null;

  constructor(private readonly folder: string) {}

  /**
   * Creates a claim, which reserves no space yet because the announced bytes may never arrive.
   * @param bytes expected size; null if unknown
   * @param uploader project whose uploads share the reservation; null for workers and the API, which may use the
   * uploads' reserve
   * @throws DomainError disk_full, or file_too_large if the bytes can never fit
   */
  async claim(bytes: number | null, uploader: string | null = null): Promise<SpaceReservation> {
    const { free, total, reserve } = await this.measure(uploader);
    const needed = bytes ?? 0;
    if (needed > total - reserve)
      throw new DomainError('file_too_large', `the server's disk is too small for ${needed} bytes`);
    if (free < reserve || needed > free - reserve) throw this.reject(needed, uploader);
    return new SpaceReservation(this, uploader, bytes ?? Infinity);
  }

  /**
   * Reserves the bytes needed now and up to a slice of those wanted soon. An uploader may reserve ahead at most half
   * of the space that others leave: with more uploads it reserves less for each, but is never rejected for that.
   * @returns the number of bytes reserved
   * @throws DomainError disk_full if the reserve would be used
   */
  async reserve(uploader: string | null, needed: number, wanted: number): Promise<number> {
    const { free, reserve } = await this.measure(uploader);
    const left = free - reserve - this.heldByAll;
    if (needed > left) throw this.reject(needed, uploader);
    const own = this.reservedBytes.get(uploader) ?? 0;
    const share = Math.floor((left - own) / 2);
    const bytes = Math.max(needed, Math.min(wanted, SLICE_BYTES, share));
    this.reservedBytes.set(uploader, own + bytes);
    return bytes;
  }

  give(uploader: string | null, bytes: number): void {
    const rest = (this.reservedBytes.get(uploader) ?? 0) - bytes;
    if (rest > 0) this.reservedBytes.set(uploader, rest);
    else this.reservedBytes.delete(uploader);
  }

  /** Whether there is still not enough space for a request that was rejected within the last hour. */
  async lacksSpace(): Promise<boolean> {
    const { lastRejection: refused } = this;
    if (refused === null || performance.now() - refused.at > REFUSED_MS) return false;
    const { free, reserve } = await this.measure(refused.uploader);
    return refused.bytes > free - reserve - this.heldByAll;
  }

  private get heldByAll(): number {
    return [...this.reservedBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  private reject(bytes: number, uploader: string | null): DomainError {
    this.lastRejection = { bytes, uploader, at: performance.now() };
    return diskFull();
  }

  private async measure(
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

/** Space that one upload reserves until it is released. */
export class SpaceReservation {
  private reserved = 0;

  constructor(
    private readonly disk: DiskSpace,
    private readonly uploader: string | null,
    private toCome: number,
  ) {}

  /** Call it before writing that many bytes. */
  async use(bytes: number): Promise<void> {
    if (bytes > this.reserved)
      this.reserved += await this.disk.reserve(
        this.uploader,
        bytes - this.reserved,
        this.toCome - this.reserved,
      );
    this.reserved -= bytes;
    this.toCome -= bytes;
    this.disk.give(this.uploader, bytes);
  }

  release(): void {
    this.disk.give(this.uploader, this.reserved);
    this.reserved = 0;
  }
}

/** Creates the error without figures: users are not allowed to see how full the server is or how much others upload. */
const diskFull = (): DomainError =>
  new DomainError(
    'disk_full',
    "the server's disk does not have enough free space; try again later",
  );
