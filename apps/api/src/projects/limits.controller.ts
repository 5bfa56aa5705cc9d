import { Controller, Get, Param } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import { LimitsObject } from '@graft/contracts';
import { StorageQuota } from '../blobs/storage-quota.js';
import { ApiJsonResponse } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { unix } from '../ids.js';
import { highestPriority, Quotas } from '../lifecycle/lease/quotas.js';
import { ownProject } from './own-project.js';

@ApiTags('administration')
@ApiBearerAuth()
@Controller('v1')
export class LimitsController {
  constructor(
    private readonly quotas: Quotas,
    private readonly storage: StorageQuota,
  ) {}

  @Get('limits')
  @RequireScope('jobs:read')
  @ApiJsonResponse(LimitsObject, 'Returns the limits and the usage of the key’s project')
  get(@Caller() { projectId }: Principal): Promise<LimitsObject> {
    return this.of(projectId);
  }

  @Get('organization/projects/:id/limits')
  @RequireScope('project:admin')
  @ApiJsonResponse(LimitsObject, 'Returns the limits and the usage of a project')
  async ofProject(@Caller() caller: Principal, @Param('id') id: string): Promise<LimitsObject> {
    return this.of(ownProject(caller, id));
  }

  private async of(projectId: string): Promise<LimitsObject> {
    const { weight, limits, ...use } = await this.quotas.use(projectId);
    return {
      object: 'graft.limits',
      project_id: projectId,
      weight,
      highest_priority: highestPriority(projectId, limits),
      data: [
        { name: 'running_jobs', limit: limits.running_jobs ?? null, used: use.runningJobs },
        { name: 'queued_jobs', limit: limits.queued_jobs ?? null, used: use.queuedJobs },
        {
          name: 'storage_bytes',
          limit: limits.storage_bytes ?? null,
          used: await this.storage.used(projectId),
        },
        { name: 'chats', limit: limits.chats ?? null, used: use.chats },
        { name: 'eval_runs', limit: limits.eval_runs ?? null, used: use.evalRuns },
        {
          name: 'tokens_per_day',
          limit: limits.tokens_per_day ?? null,
          used: use.tokensToday,
          resets_at: unix(use.tokensResetAt),
        },
      ],
    };
  }
}
