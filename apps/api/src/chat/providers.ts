import type { ModuleMetadata } from '@nestjs/common';
import { AnswerChunks } from './answer-chunks.js';
import { AnswerRows } from './answer-rows.js';
import { Answers } from './answers.js';
import { ChatController } from './chat.controller.js';
import { ChatService } from './chat.service.js';
import { InferenceController } from './inference.controller.js';
import { InferenceService } from './inference.service.js';
import { TranscriptionController } from './transcription.controller.js';
import { TranscriptionService } from './transcription.service.js';

export const CHAT: ModuleMetadata = {
  controllers: [ChatController, InferenceController, TranscriptionController],
  providers: [
    AnswerRows,
    Answers,
    AnswerChunks,
    ChatService,
    InferenceService,
    TranscriptionService,
  ],
};
