import type { ModuleMetadata } from '@nestjs/common';
import { AnswerChunks } from './answers/answer-chunks.js';
import { AnswerRows } from './answers/answer-rows.js';
import { Answers } from './answers/answers.js';
import { ChatController } from './chat.controller.js';
import { ChatService } from './chat.service.js';
import { InferenceController } from './inference/inference.controller.js';
import { InferenceService } from './inference/inference.service.js';
import { TranscriptionController } from './inference/transcription.controller.js';
import { TranscriptionService } from './inference/transcription.service.js';
import { BackgroundResponses } from './responses/background-responses.js';
import { ResponseClaims } from './responses/response-claims.js';
import { ResponsesController } from './responses/responses.controller.js';
import { ResponsesService } from './responses/responses.service.js';
import { StoredResponses } from './responses/stored-responses.js';

export const CHAT: ModuleMetadata = {
  controllers: [ChatController, InferenceController, TranscriptionController, ResponsesController],
  providers: [
    AnswerRows,
    Answers,
    AnswerChunks,
    ChatService,
    InferenceService,
    TranscriptionService,
    ResponseClaims,
    BackgroundResponses,
    ResponsesService,
    StoredResponses,
  ],
};
