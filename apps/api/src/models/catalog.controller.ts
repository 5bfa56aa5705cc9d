import { Controller, Get } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import { Catalog } from '@graft/contracts';
import { catalog } from '../catalog/plugins.js';
import { Answers } from '../http/openapi.js';

@ApiTags('catalog')
@ApiBearerAuth()
@Controller('v1/catalog')
export class CatalogController {
  @Get()
  @Answers(Catalog, 'What this build can train')
  get(): Catalog {
    return catalog();
  }
}
