import { Controller, Get } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import { Catalog, CatalogTask, type Page } from '@graft/contracts';
import { catalog } from '../catalog/plugins.js';
import { ApiJsonResponse, ApiListResponse } from '../http/openapi.js';

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

  @Get('tasks')
  @ApiListResponse(CatalogTask, 'Lists the tasks of the catalog, without its methods and options')
  tasks(): Page<CatalogTask> {
    return { object: 'list', data: catalog().tasks, has_more: false };
  }
}
