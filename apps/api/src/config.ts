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
  /** postgres://…; absent: an embedded server in `home/postgres`. */
  readonly databaseUrl?: string;
  /** redis://…; absent: BullMQ's PostgreSQL backend in the same database. */
  readonly queueUrl?: string;
  /** Prefix of every queue's name, so that several installations can share one Redis. */
  readonly queuePrefix?: string;
  /** Where the join token for workers is kept; absent: `home/join-token`. */
  readonly joinTokenFile?: string;
  /** Built dashboard to serve at `/`. */
  readonly dashboardDir?: string;
  /** Base URL of the Hugging Face hub used by `hub:` imports. */
  readonly hubUrl?: string;
  /** Requests that a key may send a minute; 0: any number. */
  readonly requestsPerMinute?: number;
  /** Lease length; tests shorten it. */
  readonly leaseMs?: number;
  readonly reconcileMs?: number;
  /** How often what nobody needs any more is deleted; tests shorten it. */
  readonly retentionMs?: number;
  /** How long reading a job's data before it is created may take; tests shorten it. */
  readonly readerMs?: number;
  /** Pause before a crashed attempt is queued again, doubled with each failure; tests shorten it. */
  readonly retryBackoffMs?: number;
}

/** The same with every default filled in: what the services see. */
export class Settings {
  readonly home: string;
  readonly host: string;
  readonly port: number;
  readonly grpcHost: string;
  readonly grpcPort: number;
  readonly localGrpcPort: number;
  readonly queueUrl: string | null;
  readonly queuePrefix: string;
  readonly joinTokenFile: string;
  readonly dashboardDir: string | null;
  readonly hubUrl: string;
  readonly requestsPerMinute: number;
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly reconcileMs: number;
  readonly retentionMs: number;
  readonly readerMs: number;
  readonly retryBackoffMs: number;
  readonly blobsDir: string;

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
    this.queueUrl = config.queueUrl ?? null;
    this.queuePrefix = config.queuePrefix ?? 'graft';
    this.joinTokenFile = config.joinTokenFile ?? join(config.home, 'join-token');
    this.dashboardDir = config.dashboardDir ?? null;
    this.hubUrl = config.hubUrl ?? 'https://huggingface.co';
    this.requestsPerMinute = config.requestsPerMinute ?? 6_000;
    this.leaseMs = config.leaseMs ?? 15_000;
    this.heartbeatMs = Math.max(200, Math.floor(this.leaseMs / 3));
    this.reconcileMs = config.reconcileMs ?? 3_000;
    this.retentionMs = config.retentionMs ?? 600_000;
    this.readerMs = config.readerMs ?? 60_000;
    this.retryBackoffMs = config.retryBackoffMs ?? 5_000;
    this.blobsDir = join(config.home, 'blobs');
  }
}

/** Whether only programs on this host reach an address. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));

/** A host as it stands before `:PORT`. */
export const inUrl = (host: string): string => (isIPv6(host) ? `[${host}]` : host);

export const VERSION = '0.1.0';
