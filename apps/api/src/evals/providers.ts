import type { ModuleMetadata } from '@nestjs/common';
import { CheckpointScore } from './checkpoint-score.js';
import { DeletedTexts } from './deleted-texts.js';
import { EvalClaims } from './eval-claims.js';
import { EvalItems } from './eval-items.js';
import { EvalRunner } from './eval-runner.js';
import { EvalRunsService } from './eval-runs.service.js';
import { EvalsController } from './evals.controller.js';
import { EvalsService } from './evals.service.js';
import { ItemGrading } from './grade-item.js';

export const EVALS: ModuleMetadata = {
  controllers: [EvalsController],
  providers: [
    CheckpointScore,
    EvalClaims,
    DeletedTexts,
    EvalItems,
    ItemGrading,
    EvalRunner,
    EvalsService,
    EvalRunsService,
  ],
};
