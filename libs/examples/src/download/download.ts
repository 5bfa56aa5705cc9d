import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Progress } from '../example.js';

/** File with a pinned digest. */
export interface Pinned {
  readonly url: string;
  readonly algorithm: 'sha256' | 'sha512';
  /** Hex digest. */
  readonly digest: string;
  readonly what: string;
}

/**
 * Downloads a pinned file to `path` unless it exists there, and shows progress. Never leaves a file with another digest
 * at `path`.
 * @throws Error if the server does not respond, the download is interrupted, or the digest differs
 */
export async function fetchPinned(file: Pinned, path: string, progress: Progress): Promise<void> {
  if (existsSync(path) && (await digestOf(path, file.algorithm)) === file.digest) return;
  await mkdir(dirname(path), { recursive: true });
  const answer = await fetch(file.url, { signal: AbortSignal.timeout(600_000) }).catch(
    (error: unknown) => {
      const { cause, message } = error as Error & { cause?: { code?: string } };
      throw new Error(`cannot download ${file.what} from ${file.url}: ${cause?.code ?? message}`);
    },
  );
  if (!answer.ok || answer.body === null)
    throw new Error(`${file.what}: ${file.url} returned HTTP ${answer.status}`);
  const total = Number(answer.headers.get('content-length') ?? 0);
  const partial = `${path}.part`;
  const { digest, size } = await receive(answer.body, partial, file, total, progress).catch(
    async (error: Error) => {
      await rm(partial, { force: true });
      // The message of fetch's own error is only "terminated".
      const { message } = error.cause instanceof Error ? error.cause : error;
      throw new Error(`the download of ${file.what} from ${file.url} was interrupted: ${message}`);
    },
  );
  if (digest !== file.digest) {
    await rm(partial);
    throw new Error(
      `${file.what} from ${file.url} has ${file.algorithm} ${digest}, expected ${file.digest}; discarded`,
    );
  }
  await rename(partial, path);
  progress.note(`${file.what}: ${megabytes(size)} downloaded, ${file.algorithm} verified`);
}

export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

async function receive(
  body: AsyncIterable<Uint8Array>,
  path: string,
  file: Pinned,
  total: number,
  progress: Progress,
): Promise<{ readonly digest: string; readonly size: number }> {
  const hash = createHash(file.algorithm);
  const handle = await open(path, 'w');
  let done = 0;
  let shown = 0;
  try {
    for await (const chunk of body) {
      // handle.write() may write only a part on a full disk, and succeed.
      await handle.writeFile(chunk);
      hash.update(chunk);
      done += chunk.length;
      if (Date.now() - shown < 200) continue;
      shown = Date.now();
      progress.draw(
        `${file.what}: ${megabytes(done)}${total > 0 ? ` of ${megabytes(total)}` : ''}`,
      );
    }
    await handle.sync();
  } finally {
    await handle.close();
    progress.draw('');
  }
  return { digest: hash.digest('hex'), size: done };
}

async function digestOf(path: string, algorithm: string): Promise<string> {
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
