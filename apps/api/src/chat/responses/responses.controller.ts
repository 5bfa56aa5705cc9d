import { Body, Controller, HttpCode, Post, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { ResponseObject, ResponseStreamEvent } from '@graft/contracts';
import type { Response } from 'express';
import { Caller, RequireScope, type Principal } from '../../auth/principal.js';
import { ApiJsonOrEventsResponse } from '../../http/openapi.js';
import { bodySchema } from '../../http/parse.js';
import { ResponseBody } from './response-body.js';
import { ResponsesService } from './responses.service.js';

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
  constructor(private readonly responses: ResponsesService) {}

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
}
