import { Body, Controller, Get, HttpCode, Param, Post, Req } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiConsumes, ApiTags } from '@nestjs/swagger';
import { UploadObject, UploadPartObject } from '@graft/contracts';
import type { Request } from 'express';
import { ApiJsonResponse } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { UploadsService } from './uploads.service.js';

@ApiTags('files')
@ApiBearerAuth()
@Controller('v1/uploads')
export class UploadsController {
  constructor(private readonly uploads: UploadsService) {}

  @Post()
  @HttpCode(200)
  @RequireScope('files:write')
  @ApiJsonResponse(UploadObject, 'Creates an upload in parts')
  create(@Caller() caller: Principal, @Body() body: unknown): Promise<UploadObject> {
    return this.uploads.create(caller, body);
  }

  @Get(':id')
  @RequireScope('files:read')
  @ApiJsonResponse(UploadObject, 'Returns an upload with its received parts')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<UploadObject> {
    return this.uploads.get(caller, id);
  }

  @Post(':id/parts')
  @HttpCode(200)
  @RequireScope('files:write')
  @ApiConsumes('multipart/form-data')
  @ApiBody({
    schema: {
      type: 'object',
      required: ['data'],
      properties: { data: { type: 'string', format: 'binary' } },
    },
  })
  @ApiJsonResponse(UploadPartObject, 'Adds a part to an upload')
  addPart(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Req() request: Request,
  ): Promise<UploadPartObject> {
    return this.uploads.addPart(caller, id, request);
  }

  @Post(':id/complete')
  @HttpCode(200)
  @RequireScope('files:write')
  @ApiJsonResponse(UploadObject, 'Completes an upload: creates a file from its parts')
  complete(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<UploadObject> {
    return this.uploads.complete(caller, id, body);
  }

  @Post(':id/cancel')
  @HttpCode(200)
  @RequireScope('files:write')
  @ApiJsonResponse(UploadObject, 'Cancels an upload')
  cancel(@Caller() caller: Principal, @Param('id') id: string): Promise<UploadObject> {
    return this.uploads.cancel(caller, id);
  }
}
