import { createHash } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { randomText } from '../ids.js';
import type { StoredBlob } from './blob-backend.js';
import { DiskSpace } from './disk-space.js';
import { PartialUploads } from './partial-uploads.js';

export interface Received extends StoredBlob {
  readonly temporary: string;
}

export interface ReceiveOptions {
  /** Maximum size in bytes. */
  readonly limit?: number;
  /**
   * Announced size in bytes. If the disk does not have that much free space, the upload is rejected before it starts;
   * the space is not reserved.
   */
  readonly announced?: number;
  /** Id of the project that uploads. Default: a worker or the API itself. */
  readonly uploader?: string;
  readonly expect?: StoredBlob;
  /** Throws if that many bytes exceed a quota. */
  readonly within?: (bytes: number) => void;
  /** Makes the upload resumable: received bytes are stored under `key` when it is interrupted. */
  readonly resume?: { readonly key: string; readonly offset: number };
  /** Called with every chunk. */
  readonly inspect?: (chunk: Buffer) => void;
}

/** The source ended early, or another call took over the upload. It may be resumed later. */
export class InterruptedUpload extends DomainError {
  constructor(size: number) {
    super('unavailable', `the upload was interrupted after ${size} bytes; resume it from there`);
  }
}

interface Target {
  readonly path: string;
  readonly file: Awaited<ReturnType<typeof open>>;
  readonly hash: ReturnType<typeof createHash>;
  isCurrent(): boolean;
  leave(size: number): void;
  end(): void;
}

/** Streams uploads to temporary files and hashes them. */
export class BlobReceiver {
  private readonly disk: DiskSpace;
  private readonly partials: PartialUploads;

  constructor(private readonly incoming: string) {
    this.disk = new DiskSpace(incoming);
    this.partials = new PartialUploads(incoming);
  }

  /** Returns the number of bytes received of an interrupted upload. */
  received(key: string): Promise<number> {
    return this.partials.received(key);
  }

  /** Whether the disk is still too full for something that was rejected recently. */
  lacksSpace(): Promise<boolean> {
    return this.disk.lacksSpace();
  }

  async receive(source: AsyncIterable<Buffer>, options: ReceiveOptions = {}): Promise<Received> {
    const { expect, resume, limit = Infinity } = options;
    const offset = resume?.offset ?? 0;
    const announced = expect?.size ?? options.announced ?? null;
    const toCome = announced === null ? null : announced - offset;
    const claim = await this.disk.claim(toCome, options.uploader ?? null);
    let target: Target | null = null;
    let size = offset;
    try {
      target = resume ? await this.partials.resume(resume.key, offset) : await this.newTarget();
      const { file, hash } = target;
      // `write()` may write only a part on a disk that becomes full, and succeed.
      const position = { at: offset };
      for await (const chunk of source) {
        if (!target.isCurrent()) throw new InterruptedUpload(size);
        if (size + chunk.length > limit)
          throw new DomainError('file_too_large', `the file is larger than ${limit} bytes`, 'file');
        options.within?.(size + chunk.length);
        options.inspect?.(chunk);
        await claim.use(chunk.length);
        await writeAll(file, chunk, position);
        hash.update(chunk);
        size += chunk.length;
      }
      // A lost connection may look like the end of the source. A resume without new bytes is final.
      if (resume && expect && size > offset && size < expect.size)
        throw new InterruptedUpload(size);
      await file.sync();
      await file.close();
      const sha256 = hash.digest('hex');
      if (expect) check(expect, { sha256, size }, offset);
      target.end();
      return { sha256, size, temporary: target.path };
    } catch (error) {
      await target?.file.close().catch(() => undefined);
      if (error instanceof InterruptedUpload) target?.leave(size);
      else if (target) {
        target.end();
        await rm(target.path, { force: true });
      }
      throw error;
    } finally {
      claim.release();
    }
  }

  private async newTarget(): Promise<Target> {
    const path = join(this.incoming, randomText());
    const file = await open(path, 'wx', 0o600);
    const hash = createHash('sha256');
    return {
      path,
      file,
      hash,
      isCurrent: () => true,
      leave: () => undefined,
      end: () => undefined,
    };
  }
}

async function writeAll(
  file: Target['file'],
  chunk: Buffer,
  position: { at: number },
): Promise<void> {
  for (let done = 0; done < chunk.length;) {
    const { bytesWritten } = await file.write(chunk, done, chunk.length - done, position.at);
    done += bytesWritten;
    position.at += bytesWritten;
  }
}

/**
 * Checks the received blob. The error does not contain its hash, because the uploader may not be allowed to read the
 * file.
 */
function check(expect: StoredBlob, came: StoredBlob, offset: number): void {
  if (expect.sha256 === came.sha256 && expect.size === came.size) return;
  // The bytes from before the interruption may be the damaged ones: restart the upload.
  if (offset > 0)
    throw new DomainError(
      'unavailable',
      'the bytes received before the interruption were damaged; send the whole file again',
    );
  throw new DomainError(
    'invalid_value',
    expect.size === came.size
      ? `the sha256 of the ${came.size} bytes received differs from the announced one`
      : `expected ${expect.size} bytes as announced, got ${came.size}`,
  );
}
