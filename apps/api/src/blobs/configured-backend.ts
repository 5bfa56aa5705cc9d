import type { Settings } from '../config.js';
import type { BlobBackend } from './blob-backend.js';
import { FolderBackend } from './folder-backend.js';

/** Creates the configured backend. The S3 client is only loaded if it is used. */
export async function blobBackend(settings: Settings): Promise<BlobBackend> {
  if (settings.blobsUrl === null) return new FolderBackend(settings.blobsDir);
  const { S3Backend } = await import('./s3-backend.js');
  return S3Backend.of(settings);
}
