import { Controller, Get } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import { Catalog } from '@graft/contracts';
import { catalog } from '../catalog/plugins.js';
import { ApiJsonResponse } from '../http/openapi.js';

@ApiTags('catalog')
@ApiBearerAuth()
@Controller('v1/catalog')
export class CatalogController {
  @Get()
  @ApiJsonResponse(
    Catalog,
    'Returns what this build can train: models, methods, tasks and their options',
  )
  get(): Catalog {
    return catalog();
  }
}
