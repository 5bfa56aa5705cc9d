import { isIPv4, isIPv6 } from 'node:net';
import { join } from 'node:path';

export const LOOPBACK = '127.0.0.1';

/** Configuration of the control plane. Every field has a safe default: nothing listens beyond this host. */
export interface ApiConfig {
  /** Folder for the database, blobs and credentials. */
  readonly home: string;
  /** Address that REST and the dashboard listen on. */
  readonly host?: string;
  /** Port of REST and the dashboard. 0 selects a free port. */
  readonly port?: number;
  /** Address and port on which the gateway for workers listens. */
  readonly grpcHost?: string;
  readonly grpcPort?: number;
  /** Port on this host without TLS, in addition to a gateway that uses TLS. */
  readonly localGrpcPort?: number;
  /** PEM files with the certificate chain and key of the gateway. Set both or none. */
  readonly grpcTlsCert?: string;
  readonly grpcTlsKey?: string;
  /** Allows the gateway to listen beyond this host without TLS, for private networks. */
  readonly insecureGrpc?: boolean;
  /** Whether to serve /docs and /docs-json, which need no key. */
  readonly docs?: boolean;
  /** Address and port at which the other API processes of the installation reach this one. */
  readonly relayHost?: string;
  readonly relayPort?: number;
  /** Address and port of the external scaler for KEDA. Without a port there is none. */
  readonly scalerHost?: string;
  readonly scalerPort?: number;
  /** postgres://… URL. Default: an embedded server in `home/postgres`. */
  readonly databaseUrl?: string;
  /** redis://… URL. Default: BullMQ's PostgreSQL backend in the same database. */
  readonly queueUrl?: string;
  /** Prefix of every queue's name, so that several installations can share one Redis. */
  readonly queuePrefix?: string;
  /** Storage of the blobs: a folder or s3://BUCKET/PREFIX. Default: `home/blobs`. */
  readonly blobs?: string;
  /** Whether workers read blobs directly from S3, by URLs that are valid for an hour. */
  readonly blobsPresign?: boolean;
  /** Whether the bucket's name is in the path of S3 URLs instead of the host. */
  readonly s3PathStyle?: boolean;
  /** File for the join token of workers. Default: `home/join-token`. */
  readonly joinTokenFile?: string;
  /** Folder of the built dashboard to serve at `/`. */
  readonly dashboardDir?: string;
  /** Base URL of the Hugging Face hub for `hub:` imports. */
  readonly hubUrl?: string;
  /** Private networks (CIDR) that requests to user-supplied URLs may reach. */
  readonly outboundNetworks?: readonly string[];
  /** Interpreter of Python graders. Without one they are not available. */
  readonly python?: string;
  /** User that runs Python graders, or "self". */
  readonly pythonUser?: string;
  /** Trusted reverse proxies, whose X-Forwarded-For is used: their number, or comma-separated addresses. */
  readonly trustProxy?: string;
  /** Requests per minute for a key, and for all keys of a project. 0 is unlimited. */
  readonly requestsPerMinute?: number;
  readonly projectRequestsPerMinute?: number;
  /** Maximum number of event streams open on one API process: for a key, for all keys of a project, and in total. */
  readonly streamsPerKey?: number;
  readonly streamsPerProject?: number;
  readonly streams?: number;
  /** Maximum number of chats that wait for a free worker, over all projects, and the maximum wait of each. */
  readonly chatQueue?: number;
  readonly chatWaitMs?: number;
  /** Time that running requests have to finish after the process was asked to stop. */
  readonly drainMs?: number;
  /** Time that an eval run waits for a worker, capacity or tokens before it fails. */
  readonly evalWaitMs?: number;
  /** Time that an eval run keeps its slot while others wait for one. Tests shorten it. */
  readonly evalTurnMs?: number;
  /** Minimum run time of a job before one of higher priority may preempt it. */
  readonly minRunSeconds?: number;
  /** Lease duration. Tests shorten it. */
  readonly leaseMs?: number;
  readonly reconcileMs?: number;
  /** Interval at which expired data is deleted. Tests shorten it. */
  readonly retentionMs?: number;
  /** Time for which the bytes of a blob remain after its last reference was removed. */
  readonly blobGraceMs?: number;
  /** Days for which audit entries and webhook deliveries are kept; null: forever. */
  readonly auditDays?: number | null;
  readonly deliveryDays?: number | null;
  /** Days for which stored responses are kept; null: forever. */
  readonly responseDays?: number | null;
  /** Days within which a deleted job can be restored. Its rows and bytes are kept. */
  readonly restoreDays?: number;
  /** Days within which a project can be restored after its deletion was requested. */
  readonly projectDeleteDays?: number;
  /** Time without data after which a request body or a worker's upload is aborted. Tests shorten it. */
  readonly bodyStandsMs?: number;
  /** Time without data after which a connection to S3 is aborted. Tests shorten it. */
  readonly storageStandsMs?: number;
  /** Maximum time for reading the data of a job before the job is created. Tests shorten it. */
  readonly readerMs?: number;
  /** Maximum number of bytes of a training file that are read for the records of a loss ledger. Tests shorten it. */
  readonly ledgerBytes?: number;
  /** Time without data after which an import is aborted. Tests shorten it. */
  readonly importStallMs?: number;
  /** Delay before a crashed attempt is queued again. It doubles with each failure. Tests shorten it. */
  readonly retryBackoffMs?: number;
}

/** Default of {@link ApiConfig.drainMs}. */
export const DRAIN_MS = 20_000;

/** Configuration with all defaults filled in, for the services. */
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
  readonly responseDays: number | null;
  readonly restoreDays: number;
  readonly projectDeleteDays: number;
  readonly bodyStandsMs: number;
  readonly storageStandsMs: number;
  readonly readerMs: number;
  readonly ledgerBytes: number;
  readonly importStallMs: number;
  readonly retryBackoffMs: number;
  /** Folder of the blobs, or of uploads on their way to S3. */
  readonly blobsDir: string;
  /** s3://… URL, or null if blobs are stored in a folder. */
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
    this.responseDays = config.responseDays === undefined ? 30 : config.responseDays;
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

/** Whether an address can be reached only from this host. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));

/** Formats a host for a URL, before `:PORT`. */
export const inUrl = (host: string): string => (isIPv6(host) ? `[${host}]` : host);

export const VERSION = '0.1.0';
