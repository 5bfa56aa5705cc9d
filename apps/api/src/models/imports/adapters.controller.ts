import { Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiConsumes, ApiTags } from '@nestjs/swagger';
import { ModelObject } from '@graft/contracts';
import type { Request } from 'express';
import { ApiJsonResponse } from '../../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../../auth/principal.js';
import { AdapterUpload } from './adapter-upload.js';

@ApiTags('adapters')
@ApiBearerAuth()
@Controller('v1/adapters')
export class AdaptersController {
  constructor(private readonly adapters: AdapterUpload) {}

  /** Takes adapter_config.json and adapter_model.safetensors, or a zip with both. */
  @Post()
  @HttpCode(200)
  @RequireScope('models:write')
  @ApiConsumes('multipart/form-data')
  @ApiBody({
    schema: {
      type: 'object',
      required: ['file', 'model'],
      properties: {
        file: { type: 'array', items: { type: 'string', format: 'binary' }, maxItems: 2 },
        model: { type: 'string', description: 'Base model that the adapter was trained on' },
        suffix: { type: 'string', maxLength: 64 },
      },
    },
  })
  @ApiJsonResponse(ModelObject, 'Imports an adapter that was trained elsewhere')
  take(@Caller() caller: Principal, @Req() request: Request): Promise<ModelObject> {
    return this.adapters.take(caller, request);
  }
}
