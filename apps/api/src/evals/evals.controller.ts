import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { EvalOutputItemObject, EvalObject, EvalRunObject } from '@graft/contracts';
import { ApiJsonResponse, ApiPageResponse, ApiQueryParam } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { z } from 'zod';
import { CreateEvalBody, CreateRunBody, UpdateEvalBody } from './eval-body.js';
import { EvalRunsService } from './eval-runs.service.js';
import { EvalsService } from './evals.service.js';

type QueryValues = Record<string, unknown>;

const CREATE_EVAL_BODY_EXAMPLE = {
  name: 'Answers in JSON',
  data_source_config: {
    type: 'custom',
    item_schema: { type: 'object', properties: { question: { type: 'string' } } },
    include_sample_schema: true,
  },
  testing_criteria: [
    {
      type: 'string_check',
      name: 'Begins with a brace',
      input: '{{ sample.output_text }}',
      reference: '{',
      operation: 'like',
    },
  ],
};

const CREATE_RUN_BODY_EXAMPLE = {
  name: 'First',
  data_source: {
    type: 'completions',
    model: 'ft:smollm2-135m::abc123',
    source: { type: 'file_content', content: [{ item: { question: 'What is your name?' } }] },
    input_messages: {
      type: 'template',
      template: [{ role: 'user', content: '{{ item.question }}' }],
    },
  },
};

@ApiTags('evals')
@ApiBearerAuth()
@Controller('v1/evals')
export class EvalsController {
  constructor(
    private readonly evals: EvalsService,
    private readonly runs: EvalRunsService,
  ) {}

  @Post()
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiBody({ schema: bodySchema(CreateEvalBody, CREATE_EVAL_BODY_EXAMPLE) })
  @ApiJsonResponse(EvalObject, 'Creates an eval')
  create(@Caller() caller: Principal, @Body() body: unknown): Promise<object> {
    return this.evals.create(caller, body);
  }

  @Get()
  @RequireScope('jobs:read')
  @ApiPageResponse(EvalObject, 'Evals', { limit: 20, most: 100 })
  @ApiQueryParam('order', { type: 'string', enum: ['asc', 'desc'], default: 'asc' })
  @ApiQueryParam('order_by', {
    type: 'string',
    enum: ['created_at', 'updated_at'],
    default: 'created_at',
  })
  list(@Caller() caller: Principal, @Query() query: QueryValues): Promise<object> {
    return this.evals.list(caller, query);
  }

  @Get(':id')
  @RequireScope('jobs:read')
  @ApiJsonResponse(EvalObject, 'Returns an eval')
  get(@Caller() caller: Principal, @Param('id') id: string): Promise<object> {
    return this.evals.get(caller, id);
  }

  @Post(':id')
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiBody({ schema: bodySchema(UpdateEvalBody) })
  @ApiJsonResponse(EvalObject, 'Updates the name or the metadata of an eval')
  update(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<object> {
    return this.evals.update(caller, id, body);
  }

  @Delete(':id')
  @RequireScope('jobs:write')
  @ApiJsonResponse(
    z.object({ object: z.literal('eval.deleted'), deleted: z.literal(true), eval_id: z.string() }),
    'Deletes an eval and its runs',
  )
  remove(@Caller() caller: Principal, @Param('id') id: string): Promise<object> {
    return this.evals.remove(caller, id);
  }

  @Post(':id/runs')
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiBody({ schema: bodySchema(CreateRunBody, CREATE_RUN_BODY_EXAMPLE) })
  @ApiJsonResponse(EvalRunObject, 'Starts a run of an eval')
  createRun(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<object> {
    return this.runs.create(caller, id, body);
  }

  @Get(':id/runs')
  @RequireScope('jobs:read')
  @ApiPageResponse(EvalRunObject, 'Lists the runs of an eval', { limit: 20, most: 100 })
  @ApiQueryParam('order', { type: 'string', enum: ['asc', 'desc'], default: 'asc' })
  @ApiQueryParam('status', {
    type: 'string',
    enum: ['queued', 'in_progress', 'completed', 'failed', 'canceled'],
  })
  listRuns(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<object> {
    return this.runs.list(caller, id, query);
  }

  @Get(':id/runs/:run')
  @RequireScope('jobs:read')
  @ApiJsonResponse(EvalRunObject, 'Returns a run of an eval')
  getRun(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Param('run') run: string,
  ): Promise<object> {
    return this.runs.get(caller, id, run);
  }

  @Post(':id/runs/:run/cancel')
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiJsonResponse(EvalRunObject, 'Cancels a run; grades so far are kept')
  cancelRun(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Param('run') run: string,
  ): Promise<object> {
    return this.runs.cancel(caller, id, run);
  }

  @Post(':id/runs/:run')
  @HttpCode(200)
  @RequireScope('jobs:write')
  @ApiJsonResponse(EvalRunObject, 'Cancels a run, on the route that earlier SDKs of OpenAI use')
  cancelRunOnEarlierRoute(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Param('run') run: string,
  ): Promise<object> {
    return this.runs.cancel(caller, id, run);
  }

  @Delete(':id/runs/:run')
  @RequireScope('jobs:write')
  @ApiJsonResponse(
    z.object({
      object: z.literal('eval.run.deleted'),
      deleted: z.literal(true),
      run_id: z.string(),
    }),
    'Deletes a run of an eval',
  )
  removeRun(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Param('run') run: string,
  ): Promise<object> {
    return this.runs.remove(caller, id, run);
  }

  @Get(':id/runs/:run/output_items')
  @RequireScope('jobs:read')
  @ApiPageResponse(EvalOutputItemObject, 'Lists the items of a run with their grades', {
    limit: 20,
    most: 100,
  })
  @ApiQueryParam('order', { type: 'string', enum: ['asc', 'desc'], default: 'asc' })
  @ApiQueryParam('status', { type: 'string', enum: ['pass', 'fail', 'error'] })
  outputItems(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Param('run') run: string,
    @Query() query: QueryValues,
  ): Promise<object> {
    return this.runs.outputItems(caller, id, run, query);
  }

  @Get(':id/runs/:run/output_items/:item')
  @RequireScope('jobs:read')
  @ApiJsonResponse(EvalOutputItemObject, 'Returns an item of a run with its grades')
  outputItem(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Param('run') run: string,
    @Param('item') item: string,
  ): Promise<object> {
    return this.runs.outputItem(caller, id, run, item);
  }
}
