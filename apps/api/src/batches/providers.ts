import type { ModuleMetadata } from '@nestjs/common';
import { BatchAnswers } from './batch-answers.js';
import { BatchClaims } from './batch-claims.js';
import { BatchFiles } from './batch-files.js';
import { BatchRunner } from './batch-runner.js';
import { BatchesController } from './batches.controller.js';
import { BatchesService } from './batches.service.js';

export const BATCHES: ModuleMetadata = {
  controllers: [BatchesController],
  providers: [BatchClaims, BatchAnswers, BatchFiles, BatchRunner, BatchesService],
};
