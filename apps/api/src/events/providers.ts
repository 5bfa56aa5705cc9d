import type { ModuleMetadata } from '@nestjs/common';
import { CheckpointEvals } from './checkpoint-evals.js';
import { CheckpointWriter } from './checkpoint-writer.js';
import { Completion } from './completion.js';
import { DamagedCheckpoints } from './damaged-checkpoints.js';
import { DeadLetters } from './dead-letters.js';
import { EventIngest } from './event-ingest.js';
import { EventWriter } from './event-writer.js';
import { LedgerWriter } from './ledger-writer.js';
import { Measurements } from './measurements.js';
import { Replay } from './replay.js';
import { SampleWriter } from './sample-writer.js';

export const EVENTS: ModuleMetadata = {
  providers: [
    Replay,
    EventWriter,
    Measurements,
    CheckpointEvals,
    CheckpointWriter,
    SampleWriter,
    LedgerWriter,
    Completion,
    DamagedCheckpoints,
    DeadLetters,
    EventIngest,
  ],
};
