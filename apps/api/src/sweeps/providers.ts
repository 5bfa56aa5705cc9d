import type { ModuleMetadata } from '@nestjs/common';
import { SweepCreation } from './create-sweep.js';
import { SweepPlans } from './sweep-plans.js';
import { SweepsController } from './sweeps.controller.js';
import { SweepsService } from './sweeps.service.js';
import { Trials } from './trials.js';

export const SWEEPS: ModuleMetadata = {
  controllers: [SweepsController],
  providers: [Trials, SweepPlans, SweepsService, SweepCreation],
};
