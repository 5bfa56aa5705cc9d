import {
  closeSync,
  fdatasync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';

// Format of a record: length (u32 LE), crc32 of the payload (u32 LE), then the payload: 1 byte for the kind and the data. An
// incomplete or damaged record and everything after it is truncated.

const HEADER_BYTES = 8;
const CLOSED = -1;
/** Size of the acknowledged part at the start of the file above which the file is rewritten without it. */
const COMPACT_BYTES = 1 << 20;

export interface SpoolRecord {
  readonly payload: Uint8Array;
  /** Whether the record may be dropped when space runs out, as for logs. */
  readonly droppable: boolean;
}

export interface SpoolOptions {
  /** Maximum unacknowledged bytes. Above it, droppable records are dropped; other records are always accepted. */
  readonly capBytes: number;
  readonly syncMs?: number;
}

/**
 * Bounded, append-only queue on disk of records that the control plane has not acknowledged. When `append` returns, the
 * record is in the kernel's page cache (it survives kill -9 of the worker), and a second later on the disk. Reads never wait
 * for the disk, because records also stay in memory until acknowledged.
 */
export class Spool {
  /** Number of records dropped since the start. */
  dropped = 0;
  /** Last write error; null while writes succeed. After an error, new records are in memory only. */
  failure: Error | null = null;
  private readonly records: SpoolRecord[] = [];
  private bytes = 0;
  private ackedFileBytes = 0;
  private fileBytes = 0;
  private dirty = false;
  private fd: number;
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly path: string,
    private readonly options: SpoolOptions,
  ) {
    mkdirSync(dirname(path), { recursive: true });
    this.fd = openSync(path, 'a+', 0o600);
    this.recover();
    this.timer = setInterval(() => this.sync(), options.syncMs ?? 1000);
    this.timer.unref();
  }

  get length(): number {
    return this.records.length;
  }

  /** Returns the record at `index`, counted from the oldest unacknowledged one. */
  at(index: number): SpoolRecord | undefined {
    return this.records[index];
  }

  /** Appends a record. Returns false if it was dropped for lack of space. The first `inFlight` records are never dropped. */
  append(payload: Uint8Array, droppable: boolean, inFlight = 0): boolean {
    const size = frameSize(payload);
    if (this.bytes + size > this.options.capBytes) {
      if (droppable) {
        this.dropped += 1;
        return false;
      }
      this.dropDroppable(inFlight);
    }
    this.records.push({ payload, droppable });
    this.bytes += size;
    this.write(frame(payload, droppable));
    return true;
  }

  /** Removes the `count` oldest records. */
  acknowledge(count: number): void {
    for (const record of this.records.splice(0, count)) {
      this.bytes -= frameSize(record.payload);
      this.ackedFileBytes += frameSize(record.payload);
    }
    if (this.records.length === 0) this.empty();
    else if (this.ackedFileBytes > COMPACT_BYTES && this.ackedFileBytes * 2 > this.fileBytes)
      this.rewrite();
  }

  close(): void {
    clearInterval(this.timer);
    if (this.fd === CLOSED) return;
    closeSync(this.fd);
    // The descriptor number may be reused.
    this.fd = CLOSED;
  }

  private recover(): void {
    const content = readFileSync(this.path);
    let offset = 0;
    while (offset + HEADER_BYTES <= content.length) {
      const end = offset + HEADER_BYTES + content.readUInt32LE(offset);
      if (end > content.length || end === offset + HEADER_BYTES) break;
      const body = content.subarray(offset + HEADER_BYTES, end);
      if (crc32(body) !== content.readUInt32LE(offset + 4)) break;
      this.records.push({ payload: new Uint8Array(body.subarray(1)), droppable: body[0] === 1 });
      this.bytes += end - offset;
      offset = end;
    }
    if (offset < content.length) ftruncateSync(this.fd, offset);
    this.fileBytes = offset;
  }

  private dropDroppable(inFlight: number): void {
    const kept = this.records.filter((record, index) => index < inFlight || !record.droppable);
    if (kept.length === this.records.length) return;
    this.dropped += this.records.length - kept.length;
    this.records.splice(0, this.records.length, ...kept);
    this.bytes = kept.reduce((sum, record) => sum + frameSize(record.payload), 0);
    this.rewrite();
  }

  private write(bytes: Buffer): void {
    // Do not append after a gap; the next sync rewrites the file.
    if (this.failure !== null) return;
    try {
      writeAll(this.fd, bytes);
      this.fileBytes += bytes.length;
      this.dirty = true;
    } catch (error) {
      // A full disk must not stop training. The record is sent from memory.
      this.failure = error instanceof Error ? error : new Error(String(error));
      this.truncate(this.fileBytes);
    }
  }

  private empty(): void {
    if (this.fileBytes === 0) return;
    this.truncate(0);
    this.fileBytes = 0;
    this.ackedFileBytes = 0;
  }

  private truncate(length: number): void {
    try {
      ftruncateSync(this.fd, length);
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error));
    }
  }

  private rewrite(): void {
    const fresh = `${this.path}.new`;
    try {
      // Remove the file of an interrupted rewrite.
      rmSync(fresh, { force: true });
      const fd = openSync(fresh, 'a', 0o600);
      try {
        for (const { payload, droppable } of this.records) writeAll(fd, frame(payload, droppable));
        renameSync(fresh, this.path);
      } catch (error) {
        closeSync(fd);
        rmSync(fresh, { force: true });
        throw error;
      }
      closeSync(this.fd);
      this.fd = fd;
      this.fileBytes = this.bytes;
      this.ackedFileBytes = 0;
      this.dirty = true;
      this.failure = null;
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error));
    }
  }

  private sync(): void {
    if (this.failure !== null) this.rewrite();
    if (!this.dirty) return;
    this.dirty = false;
    fdatasync(this.fd, (error) => {
      // EBADF: the file was replaced or closed in the meantime; its successor is synced next time.
      if (error !== null && error.code !== 'EBADF') this.failure = error;
    });
  }
}

/** Writes all bytes. A disk that fills up writes a part, and fails only on the next write. */
function writeAll(fd: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
}

function frameSize(payload: Uint8Array): number {
  return HEADER_BYTES + 1 + payload.length;
}

function frame(payload: Uint8Array, droppable: boolean): Buffer {
  const bytes = Buffer.allocUnsafe(frameSize(payload));
  bytes[HEADER_BYTES] = droppable ? 1 : 0;
  bytes.set(payload, HEADER_BYTES + 1);
  const body = bytes.subarray(HEADER_BYTES);
  bytes.writeUInt32LE(body.length, 0);
  bytes.writeUInt32LE(crc32(body), 4);
  return bytes;
}
