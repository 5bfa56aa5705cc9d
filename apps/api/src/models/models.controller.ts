import { Body, Controller, Delete, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { Caller, Needs, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { ImportModel, ModelImport } from './import.js';
import { ModelsService } from './models.service.js';

/** A model's id may hold `/` and `:`; clients send both unescaped. */
export const idOf = (path: string | string[]): string =>
  Array.isArray(path) ? path.join('/') : path;

@ApiTags('models')
@ApiBearerAuth()
@Controller('v1/models')
export class ModelsController {
  constructor(
    private readonly models: ModelsService,
    private readonly imports: ModelImport,
  ) {}

  @Get()
  @Needs('models:read')
  list(@Caller() caller: Principal): Promise<unknown> {
    return this.models.list(caller);
  }

  @Post()
  @HttpCode(200)
  @Needs('admin')
  @ApiBody({ schema: bodySchema(ImportModel) })
  import(@Body() body: unknown): Promise<unknown> {
    return this.imports.start(body);
  }

  @Get('*id')
  @Needs('models:read')
  get(@Caller() caller: Principal, @Param('id') id: string | string[]): Promise<unknown> {
    return this.models.get(caller, idOf(id));
  }

  @Delete('*id')
  @Needs('models:write')
  remove(@Caller() caller: Principal, @Param('id') id: string | string[]): Promise<unknown> {
    return this.models.remove(caller, idOf(id));
  }
}
