import { Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import { type Deleted, type Page, WorkerObject } from '@graft/contracts';
import { ApiJsonResponse, ApiDeletedResponse, ApiPageResponse } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { pageQuery } from '../http/parse.js';
import { WorkerList } from './worker-list.js';
import { WorkerOrders } from './worker-orders.js';

@ApiTags('graft')
@ApiBearerAuth()
@Controller('v1/workers')
export class WorkersController {
  constructor(
    private readonly workers: WorkerList,
    private readonly orders: WorkerOrders,
  ) {}

  @Get()
  @RequireScope('jobs:read')
  @ApiPageResponse(WorkerObject, 'Lists workers', { limit: 500, most: 500 })
  list(
    @Caller() caller: Principal,
    @Query() query: Record<string, unknown>,
  ): Promise<Page<WorkerObject>> {
    return this.workers.list(caller, pageQuery(query, 500, 500));
  }

  @Post(':id/drain')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiJsonResponse(WorkerObject, 'Drains a worker: it saves and returns its jobs, then exits')
  async drain(@Caller() caller: Principal, @Param('id') id: string): Promise<WorkerObject> {
    await this.orders.drain(caller, id);
    return this.workers.get(caller, id);
  }

  @Post(':id/cordon')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiJsonResponse(WorkerObject, 'Cordons a worker: no new jobs or chats; running jobs continue')
  async cordon(@Caller() caller: Principal, @Param('id') id: string): Promise<WorkerObject> {
    await this.orders.cordon(caller, id);
    return this.workers.get(caller, id);
  }

  @Post(':id/uncordon')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiJsonResponse(WorkerObject, 'Uncordons a worker: it accepts jobs again')
  async uncordon(@Caller() caller: Principal, @Param('id') id: string): Promise<WorkerObject> {
    await this.orders.uncordon(caller, id);
    return this.workers.get(caller, id);
  }

  @Delete(':id')
  @RequireScope('admin')
  @ApiDeletedResponse('graft.worker', 'Removes an offline worker')
  async remove(@Caller() caller: Principal, @Param('id') id: string): Promise<Deleted> {
    await this.orders.remove(caller, id);
    return { id, object: 'graft.worker', deleted: true };
  }
}
