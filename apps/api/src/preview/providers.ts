import type { ModuleMetadata } from '@nestjs/common';
import { DataReader } from './data-reader.js';
import { DataReports } from './data-reports.js';
import { JobEval } from './job-eval.js';
import { JobPlans } from './job-plans.js';
import { JobPreviews } from './job-previews.js';
import { PoolTerms } from './pool-terms.js';

export const PREVIEW: ModuleMetadata = {
  providers: [DataReader, DataReports, JobEval, JobPlans, PoolTerms, JobPreviews],
};
