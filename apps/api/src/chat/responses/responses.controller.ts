import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import {
  ResponseItem,
  ResponseObject,
  ResponseStreamEvent,
  type Deleted,
  type Page,
} from '@graft/contracts';
import type { Response } from 'express';
import { Caller, RequireScope, type Principal } from '../../auth/principal.js';
import {
  ApiDeletedResponse,
  ApiJsonOrEventsResponse,
  ApiJsonResponse,
  ApiPageResponse,
  ApiQueryParam,
} from '../../http/openapi.js';
import { bodySchema } from '../../http/parse.js';
import { ResponseBody } from './response-body.js';
import { ResponsesService } from './responses.service.js';
import { StoredResponses } from './stored-responses.js';

type QueryValues = Record<string, unknown>;

const BODY_EXAMPLE = {
  model: 'ft:smollm2-135m::abc123',
  instructions: 'Answer in one sentence.',
  input: 'Where is my parcel?',
  max_output_tokens: 100,
};

@ApiTags('answers')
@ApiBearerAuth()
@Controller('v1/responses')
export class ResponsesController {
  constructor(
    private readonly responses: ResponsesService,
    private readonly stored: StoredResponses,
  ) {}

  @Post()
  @HttpCode(200)
  @RequireScope('models:read')
  @ApiBody({ schema: bodySchema(ResponseBody, BODY_EXAMPLE) })
  @ApiJsonOrEventsResponse(ResponseObject, ResponseStreamEvent, 'Generates a response')
  create(
    @Caller() caller: Principal,
    @Body() body: unknown,
    @Res() response: Response,
  ): Promise<void> {
    return this.responses.create(caller, body, response);
  }

  @Get(':id')
  @RequireScope('models:read')
  @ApiJsonResponse(ResponseObject, 'Returns a stored response')
  get(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<ResponseObject> {
    return this.stored.get(caller, id, query);
  }

  @Get(':id/input_items')
  @RequireScope('models:read')
  @ApiPageResponse(ResponseItem, 'Lists the conversation before a stored response', {
    limit: 20,
    most: 100,
  })
  @ApiQueryParam('order', { type: 'string', enum: ['desc', 'asc'], default: 'desc' })
  inputItems(
    @Caller() caller: Principal,
    @Param('id') id: string,
    @Query() query: QueryValues,
  ): Promise<Page<ResponseItem>> {
    return this.stored.inputItems(caller, id, query);
  }

  @Post(':id/cancel')
  @HttpCode(200)
  @RequireScope('models:write')
  @ApiJsonResponse(ResponseObject, 'Cancels a background response')
  cancel(@Caller() caller: Principal, @Param('id') id: string): Promise<ResponseObject> {
    return this.stored.cancel(caller, id);
  }

  @Delete(':id')
  @RequireScope('models:write')
  @ApiDeletedResponse('response', 'Deletes a stored response')
  remove(@Caller() caller: Principal, @Param('id') id: string): Promise<Deleted<'response'>> {
    return this.stored.remove(caller, id);
  }
}
