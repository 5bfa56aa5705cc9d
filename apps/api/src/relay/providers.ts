import type { ModuleMetadata } from '@nestjs/common';
import { Connections } from './connections.js';
import { Gateways } from './gateways.js';
import { ModelRequests } from './model-requests.js';
import { RelayKey } from './relay-key.js';
import { RelayServer } from './relay-server.js';
import { Relay } from './relay.js';
import { WorkerLink } from './worker-link.js';

export const RELAY: ModuleMetadata = {
  providers: [Gateways, RelayKey, Relay, RelayServer, Connections, WorkerLink, ModelRequests],
};
