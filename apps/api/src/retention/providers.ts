import type { ModuleMetadata } from '@nestjs/common';
import { DeletedJobs } from './deleted-jobs.js';
import { DeletedProjects } from './deleted-projects.js';
import { OldCheckpoints } from './old-checkpoints.js';
import { Retention } from './retention.js';

export const RETENTION: ModuleMetadata = {
  providers: [OldCheckpoints, Retention, DeletedJobs, DeletedProjects],
};
