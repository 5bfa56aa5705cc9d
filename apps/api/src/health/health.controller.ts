import { Controller, Get, HttpCode, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import { OverviewObject, ReadyObject } from '@graft/contracts';
import type { Response } from 'express';
import { ApiJsonResponse, ApiFileResponse, ApiAlternativeResponse } from '../http/openapi.js';
import { Caller, RequireScope, Public, type Principal } from '../auth/principal.js';
import { HealthService } from './health.service.js';
import { z } from 'zod';

@ApiTags('health')
@Controller()
export class HealthController {
  constructor(private readonly health: HealthService) {}

  @Get('healthz')
  @HttpCode(200)
  @Public()
  @ApiJsonResponse(z.object({ status: z.literal('ok') }), 'Returns 200 while the process runs')
  alive(): { status: 'ok' } {
    return { status: 'ok' };
  }

  @Get('readyz')
  @Public()
  @ApiJsonResponse(
    ReadyObject,
    'Returns whether the process can serve requests, with the state of each dependency',
  )
  @ApiAlternativeResponse(
    503,
    ReadyObject,
    'The process is not ready, or the database, the queue or the notifications are down',
  )
  async ready(@Res() response: Response): Promise<void> {
    const parts = await this.health.ready();
    // Most requests do not need the blob store, and load balancers would remove all processes together.
    const { storage: _, ...needed } = parts;
    response.status(Object.values(needed).every((part) => part === 'ok') ? 200 : 503).json(parts);
  }

  @Get('metrics')
  @ApiBearerAuth()
  @RequireScope('metrics:read')
  @ApiFileResponse(['text/plain'], 'Returns metrics for Prometheus')
  async metrics(@Res() response: Response): Promise<void> {
    response.type('text/plain; version=0.0.4').send(await this.health.metrics());
  }

  @Get('v1/overview')
  @ApiBearerAuth()
  @RequireScope('jobs:read')
  @ApiJsonResponse(OverviewObject, 'Returns counts of jobs, workers and slots')
  overview(@Caller() caller: Principal): Promise<OverviewObject> {
    return this.health.overview(caller);
  }
}
