import { Injectable } from '@nestjs/common';
import { Settings } from '../config.js';
import { EventIngest } from '../events/event-ingest.js';
import { Leases } from '../lifecycle/lease/lease.js';
import { Connections } from '../relay/connections.js';
import { Gateways } from '../relay/gateways.js';
import { ModelRequests } from '../relay/model-requests.js';
import { LeaseExpiry } from '../dispatch/lease-expiry.js';
import { Workers } from '../workers/workers.js';

/** Services that all sessions share. Sessions are created per stream and not by NestJS. */
@Injectable()
export class SessionServices {
  constructor(
    readonly settings: Settings,
    readonly connections: Connections,
    readonly gateways: Gateways,
    readonly workers: Workers,
    readonly leases: Leases,
    readonly expiry: LeaseExpiry,
    readonly ingest: EventIngest,
    readonly modelRequests: ModelRequests,
  ) {}
}
