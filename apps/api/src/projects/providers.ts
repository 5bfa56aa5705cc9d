import type { ModuleMetadata } from '@nestjs/common';
import { AdminKeysController } from './admin-keys.controller.js';
import { AuditLogController } from './audit-log.controller.js';
import { AuditLog } from './audit-log.js';
import { LimitsController } from './limits.controller.js';
import { MembersController } from './members.controller.js';
import { MembersService } from './members.service.js';
import { PoolGrants } from './pool-grants.service.js';
import { PoolsController } from './pools.controller.js';
import { ProjectDeletions } from './project-deletion.service.js';
import { ProjectKeysController } from './project-keys.controller.js';
import { ProjectsController } from './projects.controller.js';
import { ProjectsService } from './projects.service.js';
import { UsageReports } from './usage-reports.service.js';
import { UsageController } from './usage.controller.js';

export const PROJECTS: ModuleMetadata = {
  controllers: [
    ProjectsController,
    LimitsController,
    MembersController,
    ProjectKeysController,
    AdminKeysController,
    AuditLogController,
    PoolsController,
    UsageController,
  ],
  providers: [
    ProjectsService,
    ProjectDeletions,
    MembersService,
    PoolGrants,
    AuditLog,
    UsageReports,
  ],
};
