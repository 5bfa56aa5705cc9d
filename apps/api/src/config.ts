import { isIPv4, isIPv6 } from 'node:net';
import { join } from 'node:path';

export const LOOPBACK = '127.0.0.1';

/** How the control plane is started. Every field has a safe default: nothing listens beyond this host. */
export interface ApiConfig {
  /** Folder that holds the database, blobs and credentials. */
  readonly home: string;
  /** Address that REST and the dashboard listen on. */
  readonly host?: string;
  /** 0 takes a free port. */
  readonly port?: number;
  /** Address and port that the gateway for workers listens on. */
  readonly grpcHost?: string;
  readonly grpcPort?: number;
  /** Port of this host without TLS, beside a gateway that speaks TLS. */
  readonly localGrpcPort?: number;
  /** Certificate chain and key, PEM files, that the gateway speaks TLS with; both or none. */
  readonly grpcTlsCert?: string;
  readonly grpcTlsKey?: string;
  /** Lets the gateway listen beyond this host without TLS, for networks that are private. */
  readonly insecureGrpc?: boolean;
  /** False: /docs and /docs-json, which need no key, are not there. */
  readonly docs?: boolean;
  /** Address and port that the other API processes of the installation reach this one at. */
  readonly relayHost?: string;
  readonly relayPort?: number;
  /** Address and port that KEDA asks for scaling; without a port nothing listens there. */
  readonly scalerHost?: string;
  readonly scalerPort?: number;
  /** postgres://…; absent: an embedded server in `home/postgres`. */
  readonly databaseUrl?: string;
  /** redis://…; absent: BullMQ's PostgreSQL backend in the same database. */
  readonly queueUrl?: string;
  /** Prefix of every queue's name, so that several installations can share one Redis. */
  readonly queuePrefix?: string;
  /** Where blobs lie: a folder, or s3://BUCKET/PREFIX; absent: `home/blobs`. */
  readonly blobs?: string;
  /** Workers fetch blobs from S3 themselves, by URLs that hold for an hour. */
  readonly blobsPresign?: boolean;
  /** The bucket's name goes into the path of an S3 URL, not into its host. */
  readonly s3PathStyle?: boolean;
  /** Where the join token for workers is kept; absent: `home/join-token`. */
  readonly joinTokenFile?: string;
  /** Built dashboard to serve at `/`. */
  readonly dashboardDir?: string;
  /** Base URL of the Hugging Face hub used by `hub:` imports. */
  readonly hubUrl?: string;
  /** Networks (CIDR) that are not the public internet, which requests to addresses of users may reach all the same. */
  readonly outboundNetworks?: readonly string[];
  /** Interpreter of python graders; absent: there are none. */
  readonly python?: string;
  /** User that it runs as, or "self". */
  readonly pythonUser?: string;
  /** Reverse proxies whose X-Forwarded-For is believed: their number, or addresses separated by commas. */
  readonly trustProxy?: string;
  /** Requests that a key, and all keys of a project, may send a minute; 0: any number. */
  readonly requestsPerMinute?: number;
  readonly projectRequestsPerMinute?: number;
  /** Event streams that a key, all keys of a project, and all keys, may have open on one API process. */
  readonly streamsPerKey?: number;
  readonly streamsPerProject?: number;
  readonly streams?: number;
  /** Chats that wait for a worker with room, of all projects, and how long one waits. */
  readonly chatQueue?: number;
  readonly chatWaitMs?: number;
  /** How long running requests may take after the process was told to stop. */
  readonly drainMs?: number;
  /** How long a run of an eval waits for a worker, room or tokens before it fails. */
  readonly evalWaitMs?: number;
  /** How long a run of an eval holds its slot while others wait for one; tests shorten it. */
  readonly evalTurnMs?: number;
  /** How long a job has run at least before one of higher priority may take its slot. */
  readonly minRunSeconds?: number;
  /** Lease length; tests shorten it. */
  readonly leaseMs?: number;
  readonly reconcileMs?: number;
  /** How often what nobody needs any more is deleted; tests shorten it. */
  readonly retentionMs?: number;
  /** How long bytes stay after the last row that named them went. */
  readonly blobGraceMs?: number;
  /** How long rows of the audit log and deliveries of webhooks stay; null: for ever. */
  readonly auditDays?: number | null;
  readonly deliveryDays?: number | null;
  /** How long a deleted job can be restored: its rows and bytes stay. */
  readonly restoreDays?: number;
  /** How long a project whose deletion was asked for can be restored. */
  readonly projectDeleteDays?: number;
  /** How long the body of a request, or a worker's upload, may stand still; tests shorten it. */
  readonly bodyStandsMs?: number;
  /** How long a connection to S3 may stand still; tests shorten it. */
  readonly storageStandsMs?: number;
  /** How long reading a job's data before it is created may take; tests shorten it. */
  readonly readerMs?: number;
  /** How much of a training file is read for the records of a ledger; tests shorten it. */
  readonly ledgerBytes?: number;
  /** How long an import waits for the next bytes; tests shorten it. */
  readonly importStallMs?: number;
  /** Pause before a crashed attempt is queued again, doubled with each failure; tests shorten it. */
  readonly retryBackoffMs?: number;
}

/** How long running requests may take after the process was told to stop. */
export const DRAIN_MS = 20_000;

/** The same with every default filled in: what the services see. */
export class Settings {
  readonly home: string;
  readonly host: string;
  readonly port: number;
  readonly grpcHost: string;
  readonly grpcPort: number;
  readonly localGrpcPort: number;
  readonly relayHost: string;
  readonly relayPort: number;
  readonly scalerHost: string;
  readonly scalerPort: number | null;
  readonly queueUrl: string | null;
  readonly queuePrefix: string;
  readonly joinTokenFile: string;
  readonly dashboardDir: string | null;
  readonly docs: boolean;
  readonly hubUrl: string;
  readonly outboundNetworks: readonly string[];
  readonly python: string | null;
  readonly pythonUser: string | null;
  readonly trustProxy: string | null;
  readonly requestsPerMinute: number;
  readonly projectRequestsPerMinute: number;
  readonly streamsPerKey: number;
  readonly streamsPerProject: number;
  readonly streams: number;
  readonly chatQueue: number;
  readonly chatWaitMs: number;
  readonly drainMs: number;
  readonly evalWaitMs: number;
  readonly evalTurnMs: number;
  readonly minRunSeconds: number;
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly reconcileMs: number;
  readonly retentionMs: number;
  readonly blobGraceMs: number;
  readonly auditDays: number | null;
  readonly deliveryDays: number | null;
  readonly restoreDays: number;
  readonly projectDeleteDays: number;
  readonly bodyStandsMs: number;
  readonly storageStandsMs: number;
  readonly readerMs: number;
  readonly ledgerBytes: number;
  readonly importStallMs: number;
  readonly retryBackoffMs: number;
  /** Folder of the blobs, or of what is on its way to S3. */
  readonly blobsDir: string;
  /** s3://…, or null where blobs lie in a folder. */
  readonly blobsUrl: string | null;
  readonly blobsPresign: boolean;
  readonly s3PathStyle: boolean;

  constructor(
    config: ApiConfig,
    readonly databaseUrl: string,
  ) {
    this.home = config.home;
    this.host = config.host ?? LOOPBACK;
    this.port = config.port ?? 0;
    this.grpcHost = config.grpcHost ?? LOOPBACK;
    this.grpcPort = config.grpcPort ?? 0;
    this.localGrpcPort = config.localGrpcPort ?? 0;
    this.relayHost = config.relayHost ?? LOOPBACK;
    this.relayPort = config.relayPort ?? 0;
    this.scalerHost = config.scalerHost ?? LOOPBACK;
    this.scalerPort = config.scalerPort ?? null;
    this.queueUrl = config.queueUrl ?? null;
    this.queuePrefix = config.queuePrefix ?? 'graft';
    this.joinTokenFile = config.joinTokenFile ?? join(config.home, 'join-token');
    this.dashboardDir = config.dashboardDir ?? null;
    this.docs = config.docs ?? true;
    this.hubUrl = config.hubUrl ?? 'https://huggingface.co';
    this.outboundNetworks = config.outboundNetworks ?? [];
    this.python = config.python ?? null;
    this.pythonUser = config.pythonUser ?? null;
    this.trustProxy = config.trustProxy ?? null;
    this.requestsPerMinute = config.requestsPerMinute ?? 6_000;
    this.projectRequestsPerMinute = config.projectRequestsPerMinute ?? 4 * this.requestsPerMinute;
    this.streamsPerKey = config.streamsPerKey ?? 500;
    this.streams = config.streams ?? 5_000;
    this.streamsPerProject =
      config.streamsPerProject ?? Math.max(this.streamsPerKey, Math.floor(this.streams / 2));
    this.chatQueue = config.chatQueue ?? 64;
    this.chatWaitMs = config.chatWaitMs ?? 30_000;
    this.drainMs = config.drainMs ?? DRAIN_MS;
    this.evalWaitMs = config.evalWaitMs ?? 86_400_000;
    this.evalTurnMs = config.evalTurnMs ?? 30_000;
    this.minRunSeconds = config.minRunSeconds ?? 300;
    this.leaseMs = config.leaseMs ?? 15_000;
    this.heartbeatMs = Math.max(200, Math.floor(this.leaseMs / 3));
    this.reconcileMs = config.reconcileMs ?? 3_000;
    this.retentionMs = config.retentionMs ?? 600_000;
    this.blobGraceMs = config.blobGraceMs ?? 24 * 3_600_000;
    this.auditDays = config.auditDays ?? null;
    this.deliveryDays = config.deliveryDays === undefined ? 30 : config.deliveryDays;
    this.restoreDays = config.restoreDays ?? 7;
    this.projectDeleteDays = config.projectDeleteDays ?? 7;
    this.bodyStandsMs = config.bodyStandsMs ?? 60_000;
    this.storageStandsMs = config.storageStandsMs ?? 60_000;
    this.ledgerBytes = config.ledgerBytes ?? 512 * 1024 * 1024;
    this.importStallMs = config.importStallMs ?? 60_000;
    this.readerMs = config.readerMs ?? 60_000;
    this.retryBackoffMs = config.retryBackoffMs ?? 5_000;
    this.blobsUrl = config.blobs?.startsWith('s3://') ? config.blobs : null;
    this.blobsDir = (this.blobsUrl === null && config.blobs) || join(config.home, 'blobs');
    this.blobsPresign = config.blobsPresign ?? false;
    this.s3PathStyle = config.s3PathStyle ?? false;
  }
}

/** Whether only programs on this host reach an address. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));

/** A host as it stands before `:PORT`. */
export const inUrl = (host: string): string => (isIPv6(host) ? `[${host}]` : host);

export const VERSION = '0.1.0';
