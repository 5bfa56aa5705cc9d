import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { hostname } from 'node:os';
import { Server, ServerCredentials, type Metadata } from '@grpc/grpc-js';
import { MAX_DOWN_BYTES, MAX_MESSAGE_BYTES, type GatewayObject } from '@graft/contracts';
import { WorkerServiceService, type WorkerServiceServer } from '@graft/contracts/grpc';
import { bearer } from '../auth/keys/secret-format.js';
import { inUrl, isLoopback, LOOPBACK, Settings } from '../config.js';
import { Readiness, stopping } from '../readiness.js';
import { BlobTransfer } from './blob-transfer.js';
import { JoinTokensService } from '../auth/keys/join-tokens.service.js';
import type { ServerSecurity } from './security.js';
import { SessionServices } from './session-services.js';
import { Session, type WorkerStream } from './session.js';
import { grpcError } from './status.js';
import { Workers } from '../workers/workers.js';

const OPTIONS = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_DOWN_BYTES,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.http2.min_ping_interval_without_data_ms': 5_000,
};

/**
 * gRPC server for workers. A join token authorizes the Connect stream, and the session of that stream all
 * other calls.
 */
@Injectable()
export class WorkerGrpcServer implements OnModuleDestroy {
  private server: Server | null = null;
  private readonly sessions = new Set<Session>();
  private listening: GatewayObject | null = null;

  constructor(
    private readonly settings: Settings,
    private readonly tokens: JoinTokensService,
    private readonly blobs: BlobTransfer,
    private readonly workers: Workers,
    private readonly services: SessionServices,
    private readonly readiness: Readiness,
  ) {}

  /**
   * Starts listening. Returns `host:port` for workers on other hosts and for a worker on this host. With TLS,
   * the second is a separate unencrypted port of 127.0.0.1, which needs no name in the certificate.
   */
  async listen(security: ServerSecurity): Promise<{ url: string; localUrl: string }> {
    this.server = new Server(OPTIONS);
    this.server.addService(WorkerServiceService, this.service());
    const { grpcHost: host, grpcPort, localGrpcPort } = this.settings;
    const url = await this.bind(inUrl(host), grpcPort, security.credentials);
    const localUrl = security.tls
      ? await this.bind(LOOPBACK, localGrpcPort, ServerCredentials.createInsecure())
      : url;
    this.listening = addressFor(host, url, localUrl, security);
    return { url, localUrl };
  }

  /** Address at which workers join. */
  get address(): GatewayObject {
    if (!this.listening) throw new Error('the gateway is not listening yet');
    return this.listening;
  }

  private bind(host: string, port: number, credentials: ServerCredentials): Promise<string> {
    return new Promise((resolve, reject) => {
      this.server?.bindAsync(`${host}:${port}`, credentials, (error, bound) =>
        error
          ? reject(
              new Error(
                `the gateway for workers cannot listen on ${host}:${port} (${error.message}): ` +
                  'if another program uses that port, choose another with --grpc-port',
              ),
            )
          : resolve(`${host}:${bound}`),
      );
    });
  }

  private service(): WorkerServiceServer {
    return {
      connect: (stream) => this.connect(stream),
      fetchBlob: (call) => {
        this.joined(call.metadata)
          .then((workerId) => this.blobs.fetch(workerId, call))
          .catch((error: unknown) => call.emit('error', grpcError(error)));
      },
      putBlob: (call, callback) => {
        this.joined(call.metadata)
          .then((workerId) => this.blobs.put(workerId, call))
          .then(
            (stored) => callback(null, stored),
            (error: unknown) => callback(grpcError(error)),
          );
      },
      putBlobState: (call, callback) => {
        this.joined(call.metadata)
          .then((workerId) => this.blobs.state(workerId, call.request))
          .then(
            (state) => callback(null, state),
            (error: unknown) => callback(grpcError(error)),
          );
      },
      findDeletedBlobs: (call, callback) => {
        this.joined(call.metadata)
          .then((workerId) => this.blobs.deleted(workerId, call.request))
          .then(
            (deleted) => callback(null, deleted),
            (error: unknown) => callback(grpcError(error)),
          );
      },
    };
  }

  private connect(stream: WorkerStream): void {
    // Read nothing before the token is checked.
    stream.pause();
    this.tokens
      .check(credential(stream.metadata))
      .then((token) => {
        if (this.readiness.state === 'stopping') throw stopping();
        const session = new Session(stream, token, this.services);
        this.sessions.add(session);
        stream.once('close', () => this.sessions.delete(session));
        stream.resume();
      })
      .catch((error: unknown) => stream.emit('error', grpcError(error)));
  }

  /** Asks all workers to connect to other processes. Workers cannot join a process that is stopping. */
  goAway(): void {
    for (const session of this.sessions) session.goAway();
  }

  /** Returns the id of the calling worker. Every call except Connect starts with this. */
  private joined(metadata: Metadata): Promise<string> {
    return this.workers.identify(credential(metadata));
  }

  async onModuleDestroy(): Promise<void> {
    for (const session of this.sessions) session.end();
    const { server } = this;
    if (!server) return;
    const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 1000))]);
    server.forceShutdown();
  }
}

function addressFor(
  host: string,
  url: string,
  localUrl: string,
  { tls, certificateName }: ServerSecurity,
): GatewayObject {
  if (isLoopback(host))
    return { url: `grpc://${localUrl}`, tls: false, listens_beyond_host: false };
  const name = certificateName ?? (/^[0.:]+$/.test(host) ? hostname() : inUrl(host));
  const port = url.slice(url.lastIndexOf(':'));
  return { url: `${tls ? 'grpcs' : 'grpc'}://${name}${port}`, tls, listens_beyond_host: true };
}

function credential(metadata: Metadata): string | null {
  const [header] = metadata.get('authorization');
  return bearer(header?.toString());
}
