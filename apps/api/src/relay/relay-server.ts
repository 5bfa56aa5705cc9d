import { once } from 'node:events';
import { hostname } from 'node:os';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import {
  Server,
  ServerInterceptingCall,
  status,
  type sendUnaryData,
  type ServerCredentials,
  type ServerInterceptor,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import { DomainError, isErrorCode } from '@graft/contracts';
import {
  GatewayServiceService,
  type AskRequest,
  type AskResponse,
  type GatewayServiceServer,
  type SendRequest,
  type SendResponse,
} from '@graft/contracts/grpc';
import { bearer } from '../auth/keys/secret-format.js';
import { inUrl, Settings } from '../config.js';
import { log } from '../log.js';
import { Connections } from './connections.js';
import { ModelRequests, NotStarted } from './model-requests.js';
import { RelayKey } from './relay-key.js';
import { RELAY_OPTIONS } from './relay.js';

/** Receives messages from other API processes for workers whose streams end here. */
@Injectable()
export class RelayServer implements OnModuleDestroy {
  private server: Server | null = null;
  private asking = 0;

  constructor(
    private readonly settings: Settings,
    private readonly key: RelayKey,
    private readonly connections: Connections,
    private readonly modelRequests: ModelRequests,
  ) {}

  /** Starts listening and returns the address at which other processes reach this one. */
  async listen(credentials: ServerCredentials): Promise<string> {
    const server = new Server({ ...RELAY_OPTIONS, interceptors: [this.admission] });
    this.server = server;
    server.addService(GatewayServiceService, this.service());
    const { relayHost, relayPort } = this.settings;
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync(`${inUrl(relayHost)}:${relayPort}`, credentials, (error, bound) =>
        error
          ? reject(
              new Error(
                `the relay between API processes cannot listen on ${relayHost}:${relayPort} (${error.message}): ` +
                  'if another program uses that port, choose another with --relay-port',
              ),
            )
          : resolve(bound),
      ),
    );
    // A wildcard is not an address, so use the host's name.
    return `${/^[0.:]+$/.test(relayHost) ? hostname() : inUrl(relayHost)}:${port}`;
  }

  /** Rejects calls without the key before their message is read. */
  private readonly admission: ServerInterceptor = (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, deliver) => {
            if (this.key.isSame(bearer(metadata.get('authorization')[0]?.toString())))
              return deliver(metadata);
            call.sendStatus({ code: status.UNAUTHENTICATED, details: 'the relay key is wrong' });
          },
        }),
    });

  private service(): GatewayServiceServer {
    return {
      send: ({ request }, callback) => this.send(request, callback),
      ask: (call) => {
        this.asking += 1;
        void this.ask(call)
          .then(
            () => call.end(),
            (error: Error) =>
              call.emit('error', { code: askStatus(error), details: error.message }),
          )
          .finally(() => (this.asking -= 1));
      },
    };
  }

  private send(
    { workerId, sessionId, what }: SendRequest,
    callback: sendUnaryData<SendResponse>,
  ): void {
    const connection = this.connections.get({ workerId, sessionId });
    let sent = false;
    if (what?.$case === 'refusal') {
      const { code, message } = what.value;
      connection?.fail(new DomainError(isErrorCode(code) ? code : 'unavailable', message));
      sent = connection !== undefined;
    } else if (what?.value.body) {
      sent = connection?.send(what.value.body) ?? false;
    } else {
      log.warn('another API process, probably of a newer version, sent an unknown message');
    }
    callback(null, { sent });
  }

  /** Number of answers that are being streamed to other processes. */
  get count(): number {
    return this.asking;
  }

  private async ask(call: ServerWritableStream<AskRequest, AskResponse>): Promise<void> {
    const { request, media, ...worker } = call.request;
    if (!request) throw new Error('the call has no request');
    const left = new AbortController();
    call.on('cancelled', () => left.abort());
    const address = { ...worker, gatewayId: null };
    const responses = this.modelRequests.responses(address, { request, media }, left.signal);
    for await (const response of responses) {
      if (call.write({ response })) continue;
      // Responses are merged while they wait for the other process to read.
      await once(call, 'drain', { signal: left.signal }).catch(() => undefined);
    }
  }

  onModuleDestroy(): void {
    this.server?.forceShutdown();
  }
}

/** gRPC status by which the requesting process distinguishes NotStarted from a lost worker. */
const askStatus = (error: Error): status =>
  error instanceof NotStarted ? status.FAILED_PRECONDITION : status.ABORTED;
