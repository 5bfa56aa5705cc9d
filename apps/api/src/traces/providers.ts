import type { ModuleMetadata } from '@nestjs/common';
import { Collector } from './collector.js';
import { TraceExports } from './trace-exports.js';
import { TraceFactsReader } from './trace-facts.js';
import { TraceFiles } from './trace-files.js';
import { TraceSender } from './trace-sender.js';

export const TRACES: ModuleMetadata = {
  providers: [TraceFactsReader, TraceFiles, Collector, TraceExports, TraceSender],
};
