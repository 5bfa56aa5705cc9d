import type { ModuleMetadata } from '@nestjs/common';
import { BlobStore } from './blob-store.js';
import { StorageQuota } from './storage-quota.js';

export const BLOBS: ModuleMetadata = {
  providers: [BlobStore, StorageQuota],
};
