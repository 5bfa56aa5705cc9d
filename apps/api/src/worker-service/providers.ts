import type { ModuleMetadata } from '@nestjs/common';
import { BlobTransfer } from './blob-transfer.js';
import { WorkerGrpcServer } from './server.js';
import { SessionServices } from './session-services.js';

export const WORKER_SERVICE: ModuleMetadata = {
  providers: [BlobTransfer, SessionServices, WorkerGrpcServer],
};
