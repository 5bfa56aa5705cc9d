import type { ModuleMetadata } from '@nestjs/common';
import { JobStream } from './job-stream.js';
import { OpenStreams } from './open-streams.js';
import { StreamController } from './stream.controller.js';

export const STREAM: ModuleMetadata = {
  controllers: [StreamController],
  providers: [OpenStreams, JobStream],
};
