import { Body, Controller, HttpCode, Post, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { Caller, Needs, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { ChatBody, CompletionBody } from './chat-body.js';
import { ChatService } from './chat.service.js';

@ApiTags('answers')
@ApiBearerAuth()
@Controller('v1')
export class ChatController {
  constructor(private readonly answers: ChatService) {}

  @Post('chat/completions')
  @HttpCode(200)
  @Needs('models:read')
  @ApiBody({ schema: bodySchema(ChatBody) })
  chat(
    @Caller() caller: Principal,
    @Body() body: unknown,
    @Res() response: Response,
  ): Promise<void> {
    return this.answers.chat(caller, body, response);
  }

  @Post('completions')
  @HttpCode(200)
  @Needs('models:read')
  @ApiBody({ schema: bodySchema(CompletionBody) })
  complete(
    @Caller() caller: Principal,
    @Body() body: unknown,
    @Res() response: Response,
  ): Promise<void> {
    return this.answers.complete(caller, body, response);
  }
}
