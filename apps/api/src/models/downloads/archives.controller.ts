import { Controller, Get, Param, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiProduces, ApiTags } from '@nestjs/swagger';

import type { Response } from 'express';
import { ApiFileResponse } from '../../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../../auth/principal.js';
import { Archives } from './archives.service.js';
import { idOf } from '../models.controller.js';
import { sendArchive } from './send-archive.js';

/** Must be registered before ModelsController, whose paths match everything. */
@ApiTags('models')
@ApiBearerAuth()
@Controller('v1/models')
export class ArchivesController {
  constructor(private readonly archives: Archives) {}

  @Get('*id/archive')
  @RequireScope('files:read')
  @ApiProduces('application/octet-stream')
  @ApiFileResponse(['application/octet-stream'], 'Returns a model’s files as one .zip')
  async get(
    @Caller() caller: Principal,
    @Param('id') path: string | string[],
    @Res() response: Response,
  ): Promise<void> {
    await sendArchive(response, await this.archives.of(caller, idOf(path)));
  }
}
