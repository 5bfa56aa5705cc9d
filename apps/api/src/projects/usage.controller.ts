import { applyDecorators, Controller, Get, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiTags } from '@nestjs/swagger';
import {
  BUCKET_WIDTHS,
  CompletionsUsagePage,
  EmbeddingsUsagePage,
  InferenceUsagePage,
  TrainingUsagePage,
  USAGE_GROUPS,
} from '@graft/contracts';
import type { z } from 'zod';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { ApiJsonResponse, ApiQueryParams } from '../http/openapi.js';
import { UsageReports } from './usage-reports.service.js';

const texts = { type: 'array', items: { type: 'string' } } as const;

/** Declares a usage endpoint with OpenAI's parameters. */
const UsageEndpoint = (path: string, schema: z.ZodType, summary: string): MethodDecorator =>
  applyDecorators(
    Get(path),
    RequireScope('jobs:read'),
    ApiJsonResponse(schema, summary),
    ApiQueryParams([
      ['start_time', { type: 'integer' }],
      ['end_time', { type: 'integer' }],
      ['bucket_width', { type: 'string', enum: Object.keys(BUCKET_WIDTHS), default: '1d' }],
      ['group_by', { type: 'array', items: { type: 'string', enum: [...USAGE_GROUPS] } }],
      ['project_ids', texts],
      ['models', texts],
      ['limit', { type: 'integer', minimum: 1, maximum: BUCKET_WIDTHS['1h'].most }],
      ['page', { type: 'string' }],
    ]),
  );

@ApiTags('administration')
@ApiBearerAuth()
@Controller('v1/organization/usage')
export class UsageController {
  constructor(private readonly reports: UsageReports) {}

  @UsageEndpoint(
    'completions',
    CompletionsUsagePage,
    'Returns requests for chats and completions and their tokens, by day or hour',
  )
  completions(
    @Caller() caller: Principal,
    @Query() query: Record<string, unknown>,
  ): Promise<CompletionsUsagePage> {
    return this.reports.completions(caller, query);
  }

  @UsageEndpoint(
    'embeddings',
    EmbeddingsUsagePage,
    'Returns requests for embeddings and their tokens, by day or hour',
  )
  embeddings(
    @Caller() caller: Principal,
    @Query() query: Record<string, unknown>,
  ): Promise<EmbeddingsUsagePage> {
    return this.reports.embeddings(caller, query);
  }

  @UsageEndpoint(
    'inference',
    InferenceUsagePage,
    'Returns requests to models of any kind and their tokens, by day or hour',
  )
  inference(
    @Caller() caller: Principal,
    @Query() query: Record<string, unknown>,
  ): Promise<InferenceUsagePage> {
    return this.reports.inference(caller, query);
  }

  @UsageEndpoint(
    'training',
    TrainingUsagePage,
    'Returns training time, trained tokens and jobs by how they ended, by day or hour',
  )
  training(
    @Caller() caller: Principal,
    @Query() query: Record<string, unknown>,
  ): Promise<TrainingUsagePage> {
    return this.reports.training(caller, query);
  }
}
