import type { ModuleMetadata } from '@nestjs/common';
import { JobCreation } from './create-job.js';
import { EventFiles } from './event-files.js';
import { FileRevisions } from './file-revisions.js';
import { JobChanges } from './job-changes.js';
import { JobConfusions } from './job-confusions.js';
import { JobDrafts } from './job-drafts.js';
import { JobInterrupts } from './job-interrupts.js';
import { JobLedgers } from './job-ledgers.js';
import { JobReceipts } from './job-receipts.js';
import { JobsController } from './jobs.controller.js';
import { JobsService } from './jobs.service.js';
import { OperationPlans } from './operation-plans.js';
import { OperationsController } from './operations.controller.js';
import { ProofController } from './proof.controller.js';
import { QueueDepths } from './queue-depths.js';
import { RevisionsController } from './revisions.controller.js';
import { RepeatedCalls } from './repeated-calls.js';

export const JOBS: ModuleMetadata = {
  controllers: [JobsController, ProofController, RevisionsController, OperationsController],
  providers: [
    JobsService,
    JobChanges,
    RepeatedCalls,
    JobDrafts,
    JobCreation,
    QueueDepths,
    OperationPlans,
    EventFiles,
    JobConfusions,
    JobInterrupts,
    JobLedgers,
    JobReceipts,
    FileRevisions,
  ],
};
