import { Body, Controller, HttpCode, Post, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import {
  ChatCompletionChunkObject,
  ChatCompletionObject,
  CompletionChunkObject,
  CompletionObject,
} from '@graft/contracts';
import type { Response } from 'express';
import { ApiJsonOrStreamResponse } from '../http/openapi.js';
import { Caller, RequireScope, type Principal } from '../auth/principal.js';
import { bodySchema } from '../http/parse.js';
import { ChatBody, CompletionBody } from './chat-body.js';
import { ChatService } from './chat.service.js';

const CHAT_BODY_EXAMPLE = {
  model: 'ft:smollm2-135m::abc123',
  messages: [{ role: 'user', content: 'Where is my parcel?' }],
  max_tokens: 100,
  stream: true,
};

const COMPLETION_BODY_EXAMPLE = { model: 'smollm2-135m', prompt: 'Once upon a time' };

@ApiTags('answers')
@ApiBearerAuth()
@Controller('v1')
export class ChatController {
  constructor(private readonly chats: ChatService) {}

  @Post('chat/completions')
  @HttpCode(200)
  @RequireScope('models:read')
  @ApiBody({ schema: bodySchema(ChatBody, CHAT_BODY_EXAMPLE) })
  @ApiJsonOrStreamResponse(
    ChatCompletionObject,
    ChatCompletionChunkObject,
    'Generates a chat completion',
  )
  chat(
    @Caller() caller: Principal,
    @Body() body: unknown,
    @Res() response: Response,
  ): Promise<void> {
    return this.chats.chat(caller, body, response);
  }

  @Post('completions')
  @HttpCode(200)
  @RequireScope('models:read')
  @ApiBody({ schema: bodySchema(CompletionBody, COMPLETION_BODY_EXAMPLE) })
  @ApiJsonOrStreamResponse(
    CompletionObject,
    CompletionChunkObject,
    'Generates a completion of a prompt',
  )
  complete(
    @Caller() caller: Principal,
    @Body() body: unknown,
    @Res() response: Response,
  ): Promise<void> {
    return this.chats.complete(caller, body, response);
  }
}
