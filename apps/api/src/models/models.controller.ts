import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { type Deleted, ModelObject, type Page } from '@graft/contracts';
import { ApiJsonResponse, ApiDeletedResponse, ApiPageResponse } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { bodySchema, pageQuery } from '../http/parse.js';
import { ImportModel, ModelImport } from './imports/import.js';
import { ModelsService } from './models.service.js';

/** Default and maximum page size. OpenAI's clients request no second page. */
const MOST_MODELS = 10_000;

/** Model ID from a path. It may contain `/` and `:`, which clients send unescaped. */
export const idOf = (path: string | string[]): string =>
  Array.isArray(path) ? path.join('/') : path;

const IMPORT_MODEL_EXAMPLE = { source: 'HuggingFaceTB/SmolLM2-135M-Instruct', id: 'smollm2-135m' };

@ApiTags('models')
@ApiBearerAuth()
@Controller('v1/models')
export class ModelsController {
  constructor(
    private readonly models: ModelsService,
    private readonly imports: ModelImport,
  ) {}

  @Get()
  @RequireScope('models:read')
  @ApiPageResponse(ModelObject, 'Lists base models and fine-tuned models', {
    limit: MOST_MODELS,
    most: MOST_MODELS,
  })
  list(
    @Caller() caller: Principal,
    @Query() query: Record<string, unknown>,
  ): Promise<Page<ModelObject>> {
    return this.models.list(caller, pageQuery(query, MOST_MODELS, MOST_MODELS));
  }

  @Post()
  @HttpCode(200)
  @RequireScope('admin')
  @ApiBody({ schema: bodySchema(ImportModel, IMPORT_MODEL_EXAMPLE) })
  @ApiJsonResponse(ModelObject, 'Imports a base model')
  import(@Caller() caller: Principal, @Body() body: unknown): Promise<ModelObject> {
    return this.imports.start(caller, body);
  }

  @Get('*id')
  @RequireScope('models:read')
  @ApiJsonResponse(ModelObject, 'Returns a model')
  get(@Caller() caller: Principal, @Param('id') id: string | string[]): Promise<ModelObject> {
    return this.models.get(caller, idOf(id));
  }

  @Delete('*id')
  @RequireScope('models:write')
  @ApiDeletedResponse('model', 'Deletes a model')
  remove(
    @Caller() caller: Principal,
    @Param('id') id: string | string[],
  ): Promise<Deleted<'model'>> {
    return this.models.remove(caller, idOf(id));
  }
}
