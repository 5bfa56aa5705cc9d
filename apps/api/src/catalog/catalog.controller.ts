import { Controller, Get } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import type { Catalog } from '@graft/contracts';
import { catalog } from './plugins.js';

@ApiTags('catalog')
@ApiBearerAuth()
@Controller('v1/catalog')
export class CatalogController {
  @Get()
  get(): Catalog {
    return catalog();
  }
}
