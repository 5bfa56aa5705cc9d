import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { createReadStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { DomainError } from '@graft/contracts';
import type { Settings } from '../config.js';
import type { BlobBackend, StoredBlob } from './blob-backend.js';
import { LocalCopies } from './local-copies.js';
import { sweepFolder } from './sweep-folder.js';

/** S3 requires at least 5 MiB for each part except the last, and allows 10,000 parts. */
const PART_BYTES = 8 * 1024 * 1024;
const MOST_PARTS = 9_000;
const PARTS_AT_ONCE = 4;
const URL_SECONDS = 3600;
const CONNECT_MS = 10_000;
/** Error names of missing objects. Some servers return `NoSuchUpload` for a bucket without any multipart upload. */
const GONE: ReadonlySet<string> = new Set(['NotFound', 'NoSuchKey', 'NoSuchUpload']);
/** Age at which another process aborts an upload. S3 charges for the parts of abandoned uploads. */
const LEFT_UPLOAD_MS = 24 * 3600 * 1000;

/**
 * Stores blobs as objects `<prefix>/<first two>/<hash>` in a bucket. Uploads are hashed into a local file first: the
 * name is known only after the last byte, S3 cannot rename objects, and a resumed upload must be read again. Region,
 * endpoint and credentials come from the AWS SDK's environment.
 */
export class S3Backend implements BlobBackend {
  readonly incoming: string;
  readonly place: string;
  private readonly copies: LocalCopies;

  constructor(
    private readonly client: S3Client,
    private readonly bucket: string,
    private readonly prefix: string,
    private readonly options: { readonly local: string; readonly presign: boolean },
  ) {
    this.place = `s3://${bucket}/${prefix}`;
    this.incoming = join(options.local, 'incoming');
    this.copies = new LocalCopies(join(options.local, 'copies'));
  }

  static of(settings: Settings): S3Backend {
    const { blobsUrl, blobsDir, blobsPresign, s3PathStyle, storageStandsMs } = settings;
    const [, bucket, path = ''] = /^s3:\/\/([^/]+)\/?(.*)$/.exec(blobsUrl ?? '') ?? [];
    if (!bucket)
      throw new Error(`GRAFT_BLOBS: expected a folder or s3://BUCKET/PREFIX, got ${blobsUrl}`);
    const client = new S3Client({
      forcePathStyle: s3PathStyle,
      // By default the SDK never times out.
      requestHandler: {
        connectionTimeout: Math.min(CONNECT_MS, storageStandsMs),
        socketTimeout: storageStandsMs,
      },
      // Every blob is checked by its sha256, and few servers other than Amazon's support the newer checksums.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
    const prefix = path === '' || path.endsWith('/') ? path : `${path}/`;
    return new S3Backend(client, bucket, prefix, { local: blobsDir, presign: blobsPresign });
  }

  async open(): Promise<void> {
    await mkdir(this.incoming, { recursive: true });
    await this.copies.open();
  }

  async marker(): Promise<string | null> {
    const object = await this.ifThere(
      this.client.send(new GetObjectCommand(this.named('installation'))),
    );
    return object?.Body ? (await object.Body.transformToString()).trim() : null;
  }

  async mark(text: string): Promise<void> {
    await this.client.send(
      new PutObjectCommand({ ...this.named('installation'), Body: `${text}\n` }),
    );
  }

  async stage(path: string, { sha256, size }: StoredBlob): Promise<void> {
    const upload = new Upload({
      client: this.client,
      params: { ...this.object(sha256), Body: createReadStream(path) },
      partSize: Math.max(PART_BYTES, Math.ceil(size / MOST_PARTS)),
      queueSize: PARTS_AT_ONCE,
    });
    await upload.done();
  }

  /** Stages the blob again if another process has deleted the same content since it was staged. */
  async commit(path: string, blob: StoredBlob): Promise<void> {
    if ((await this.size(blob.sha256)) !== blob.size) await this.stage(path, blob);
    await this.copies.take(path, blob);
  }

  async size(sha256: string): Promise<number | null> {
    const head = await this.ifThere(this.client.send(new HeadObjectCommand(this.object(sha256))));
    return head?.ContentLength ?? null;
  }

  read(sha256: string, offset: number): Readable {
    return Readable.from(this.chunks(sha256, offset), { objectMode: false });
  }

  private async *chunks(sha256: string, offset: number): AsyncGenerator<Buffer> {
    const size = await this.size(sha256);
    if (size === null) throw new DomainError('internal_error', 'a stored blob is missing in S3');
    // S3 rejects a range that starts at the end of the object.
    if (offset >= size) return;
    const { Body } = await this.client.send(
      new GetObjectCommand({ ...this.object(sha256), Range: `bytes=${offset}-` }),
    );
    yield* Body as AsyncIterable<Buffer>;
  }

  file(blob: StoredBlob): Promise<string> {
    return this.copies.get(blob, () => this.read(blob.sha256, 0));
  }

  async url(sha256: string): Promise<string | null> {
    if (!this.options.presign) return null;
    return getSignedUrl(this.client, new GetObjectCommand(this.object(sha256)), {
      expiresIn: URL_SECONDS,
    });
  }

  async remove(sha256: string): Promise<void> {
    await this.client.send(new DeleteObjectCommand(this.object(sha256)));
    await this.copies.drop(sha256);
  }

  async sweep(leftMs: number): Promise<void> {
    await sweepFolder(this.incoming, leftMs);
    await this.copies.shrink();
    await this.abortLeft(LEFT_UPLOAD_MS);
  }

  /**
   * Aborts multipart uploads of processes that stopped before they finished. Their age is measured by S3's clock, to
   * which the SDK adjusts within minutes from the dates of responses; the local clock may be hours off.
   */
  async abortLeft(leftMs: number): Promise<void> {
    let after: { KeyMarker?: string; UploadIdMarker?: string } = {};
    for (;;) {
      const page = await this.ifThere(
        this.client.send(
          new ListMultipartUploadsCommand({ Bucket: this.bucket, Prefix: this.prefix, ...after }),
        ),
      );
      if (page === null) return;
      const now = Date.now() + this.client.config.systemClockOffset;
      for (const { Key, UploadId, Initiated } of page.Uploads ?? [])
        if (Key && UploadId && now - (Initiated?.getTime() ?? Infinity) >= leftMs)
          await this.ifThere(
            this.client.send(
              new AbortMultipartUploadCommand({ Bucket: this.bucket, Key, UploadId }),
            ),
          );
      if (!page.IsTruncated) return;
      after = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
    }
  }

  private object(sha256: string): { Bucket: string; Key: string } {
    return this.named(`${sha256.slice(0, 2)}/${sha256}`);
  }

  private named(name: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: `${this.prefix}${name}` };
  }

  private async ifThere<T>(answer: Promise<T>): Promise<T | null> {
    try {
      return await answer;
    } catch (error) {
      if (GONE.has((error as Error).name)) return null;
      throw error;
    }
  }
}
