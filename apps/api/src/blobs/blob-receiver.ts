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
  /** In bytes. */
  readonly limit?: number;
  /** What is announced; a disk without room for so much refuses at once, and holds none of it. */
  readonly announced?: number;
  /** Whose upload it is, as a project's id. Absent: a worker's, or the API's own. */
  readonly uploader?: string;
  readonly expect?: StoredBlob;
  /** Throws when so many bytes are too many. */
  readonly within?: (bytes: number) => void;
  /** Of an upload that may be cut and go on: what has arrived stays under `key`. */
  readonly resume?: { readonly key: string; readonly offset: number };
  /** Sees every chunk. */
  readonly inspect?: (chunk: Buffer) => void;
}

/** The source ended early, or was taken up by another call: it may go on later. */
export class CutOff extends DomainError {
  constructor(size: number) {
    super('unavailable', `the upload was cut after ${size} bytes; go on from there`);
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

/** Streams what arrives to a temporary file while hashing. */
export class BlobReceiver {
  private readonly disk: DiskSpace;
  private readonly partials: PartialUploads;

  constructor(private readonly incoming: string) {
    this.disk = new DiskSpace(incoming);
    this.partials = new PartialUploads(incoming);
  }

  /** Bytes that are here of an upload that was cut. */
  received(key: string): Promise<number> {
    return this.partials.received(key);
  }

  /** Whether the disk is too full for something that came of late. */
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
      target = resume ? await this.partials.resume(resume.key, offset) : await this.fresh();
      const { file, hash } = target;
      // Not write(): on a disk that gets full that may write a part only, and succeed.
      const position = { at: offset };
      for await (const chunk of source) {
        if (!target.isCurrent()) throw new CutOff(size);
        if (size + chunk.length > limit)
          throw new DomainError('file_too_large', `the file is larger than ${limit} bytes`, 'file');
        options.within?.(size + chunk.length);
        options.inspect?.(chunk);
        await claim.use(chunk.length);
        await writeAll(file, chunk, position);
        hash.update(chunk);
        size += chunk.length;
      }
      // A line that breaks may look like an end; who sends nothing more has nothing more.
      if (resume && expect && size > offset && size < expect.size) throw new CutOff(size);
      await file.sync();
      await file.close();
      const sha256 = hash.digest('hex');
      if (expect) check(expect, { sha256, size }, offset);
      target.end();
      return { sha256, size, temporary: target.path };
    } catch (error) {
      await target?.file.close().catch(() => undefined);
      if (error instanceof CutOff) target?.leave(size);
      else if (target) {
        target.end();
        await rm(target.path, { force: true });
      }
      throw error;
    } finally {
      claim.release();
    }
  }

  private async fresh(): Promise<Target> {
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

/** Without the hash of what came: whoever may not read a file must not learn what is in it. */
function check(expect: StoredBlob, came: StoredBlob, offset: number): void {
  if (expect.sha256 === came.sha256 && expect.size === came.size) return;
  // What lay here from before may be what is wrong: once more from the beginning.
  if (offset > 0)
    throw new DomainError(
      'unavailable',
      'what had arrived before the cut was damaged; send it again',
    );
  throw new DomainError(
    'invalid_value',
    expect.size === came.size
      ? `got ${came.size} bytes with another sha256 than announced`
      : `got ${came.size} bytes, announced ${expect.size}`,
  );
}
