import type { ModuleMetadata } from '@nestjs/common';
import { OutboundFetch } from './outbound-fetch.js';
import { Outbound } from './outbound.js';

export const OUTBOUND: ModuleMetadata = {
  providers: [Outbound, OutboundFetch],
};
