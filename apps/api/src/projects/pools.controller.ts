import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import {
  DomainError,
  type Page,
  PoolObject,
  PoolQueueObject,
  PoolWhatIfObject,
} from '@graft/contracts';
import { ApiJsonResponse, ApiListResponse, ApiQueryParam } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { PoolQueues } from '../history/pool-queue.js';
import { bodySchema } from '../http/parse.js';
import { GrantPool, ModifyPool, PoolGrants } from './pool-grants.service.js';

@ApiTags('graft')
@ApiBearerAuth()
@Controller('v1/pools')
export class PoolsController {
  constructor(
    private readonly grants: PoolGrants,
    private readonly queues: PoolQueues,
  ) {}

  @Get()
  @RequireScope('jobs:read')
  @ApiListResponse(PoolObject, 'Lists the pools of workers')
  @ApiQueryParam('name', { type: 'string' })
  list(@Caller() caller: Principal, @Query('name') name: unknown): Promise<Page<PoolObject>> {
    return this.grants.list(caller, name);
  }

  @Get(':id')
  @RequireScope('jobs:read')
  @ApiJsonResponse(PoolObject, 'Returns a pool with its load in the last hour')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<PoolObject> {
    return this.grants.get(caller, id);
  }

  @Get(':id/queue')
  @RequireScope('jobs:read')
  @ApiJsonResponse(
    PoolQueueObject,
    'Returns the jobs of a pool, with the forecast of their starts and ends',
  )
  queue(@Caller() caller: Principal, @Param('id') id: string): Promise<PoolQueueObject> {
    return this.queues.queue(caller, id);
  }

  @Get(':id/what_if')
  @RequireScope('jobs:read')
  @ApiJsonResponse(
    PoolWhatIfObject,
    'Forecasts which jobs an action delays, without performing it: moving a job to the front, draining or cordoning a worker',
  )
  @ApiQueryParam('front', { type: 'string', description: 'ID of a queued job' })
  @ApiQueryParam('drain', { type: 'string', description: 'ID of a worker' })
  @ApiQueryParam('cordon', { type: 'string', description: 'ID of a worker' })
  whatIf(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: Record<string, unknown>,
  ): Promise<PoolWhatIfObject> {
    const given = (['front', 'drain', 'cordon'] as const).filter((one) => query[one] !== undefined);
    const [action] = given;
    const target = action && query[action];
    if (!action || given.length > 1 || typeof target !== 'string' || target === '')
      throw new DomainError(
        'invalid_value',
        'expected one of front, drain and cordon',
        action ?? 'front',
      );
    return action === 'front'
      ? this.queues.front(caller, id, target)
      : this.queues.without(caller, id, action, target);
  }

  @Post(':id')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiBody({ schema: bodySchema(ModifyPool) })
  @ApiJsonResponse(
    PoolObject,
    'Opens a pool to all projects, or restricts it to projects with a grant',
  )
  modify(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<PoolObject> {
    return this.grants.modify(caller, id, body);
  }

  @Post(':id/cordon')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiJsonResponse(PoolObject, 'Cordons a pool: its workers start no new jobs or chats')
  cordon(@Caller() caller: Principal, @Param('id') id: string): Promise<PoolObject> {
    return this.grants.cordon(caller, id, true);
  }

  @Post(':id/uncordon')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiJsonResponse(PoolObject, 'Uncordons a pool: its workers start jobs and chats again')
  uncordon(@Caller() caller: Principal, @Param('id') id: string): Promise<PoolObject> {
    return this.grants.cordon(caller, id, false);
  }

  @Post(':id/grants')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiBody({ schema: bodySchema(GrantPool) })
  @ApiJsonResponse(PoolObject, 'Grants a pool to a project')
  grant(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<PoolObject> {
    return this.grants.grant(caller, id, body);
  }

  @Delete(':id/grants/:project')
  @RequireScope('admin')
  @ApiJsonResponse(PoolObject, 'Revokes the grant of a pool to a project')
  revoke(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Param('project') project: string,
  ): Promise<PoolObject> {
    return this.grants.revoke(caller, id, project);
  }
}
