import { Controller, Get, HttpCode, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { Caller, Needs, Public, type Principal } from '../auth/principal.js';
import { HealthService } from './health.service.js';

@ApiTags('health')
@Controller()
export class HealthController {
  constructor(private readonly health: HealthService) {}

  @Get('healthz')
  @HttpCode(200)
  @Public()
  alive(): { status: 'ok' } {
    return { status: 'ok' };
  }

  @Get('readyz')
  @Public()
  async ready(@Res() response: Response): Promise<void> {
    const parts = await this.health.ready();
    response.status(Object.values(parts).every((part) => part === 'ok') ? 200 : 503).json(parts);
  }

  @Get('metrics')
  @ApiBearerAuth()
  @Needs('metrics:read')
  async metrics(@Res() response: Response): Promise<void> {
    response.type('text/plain; version=0.0.4').send(await this.health.metrics());
  }

  @Get('v1/overview')
  @ApiBearerAuth()
  @Needs('jobs:read')
  overview(@Caller() caller: Principal): Promise<unknown> {
    return this.health.overview(caller);
  }

  @Get('v1/workers')
  @ApiBearerAuth()
  @Needs('jobs:read')
  workers(@Caller() caller: Principal): Promise<unknown> {
    return this.health.workers(caller);
  }
}
