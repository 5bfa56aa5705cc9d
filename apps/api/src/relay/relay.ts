import { createSecureContext } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { credentials, Metadata, type ChannelCredentials } from '@grpc/grpc-js';
import { DomainError, MAX_REQUEST_MEDIA_BYTES, MAX_DOWN_BYTES } from '@graft/contracts';
import { GatewayServiceClient, type SendRequest } from '@graft/contracts/grpc';
import { log } from '../log.js';
import { Gateways, type Gateway } from './gateways.js';
import { RelayKey } from './relay-key.js';

const CONNECT_MS = 1_500;
const SEND_MS = 2_000;
/** A process that did not respond is not called for this long, so that the next callers do not wait too. */
const SHUN_MS = 3_000;
/** Overhead of a worker's message, and of the pieces of an image or audio file. */
const ENVELOPE_BYTES = 1024 * 1024;
/** A request and its media are one message here, because no heartbeats wait behind it. */
const MAX_RELAYED_BYTES = MAX_DOWN_BYTES + MAX_REQUEST_MEDIA_BYTES + ENVELOPE_BYTES;

/** gRPC options of clients and servers. */
export const RELAY_OPTIONS = {
  'grpc.max_receive_message_length': MAX_RELAYED_BYTES,
  'grpc.max_send_message_length': MAX_RELAYED_BYTES,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
};

/** Error for a call that certainly did not reach the other process. */
export class Unreachable extends Error {}

/** Calls other API processes of the installation. The channel to each is opened on first use and kept. */
@Injectable()
export class Relay implements OnModuleDestroy {
  private readonly clients = new Map<string, GatewayServiceClient>();
  private readonly pausedUntil = new Map<string, number>();

  constructor(
    private readonly gateways: Gateways,
    private readonly key: RelayKey,
  ) {}

  /**
   * Returns whether the process had the stream of that session.
   * @throws Unreachable if the call did not arrive, DomainError if that is unknown
   */
  async send(gatewayId: string, request: SendRequest): Promise<boolean> {
    const client = await this.client(gatewayId);
    return new Promise((resolve, reject) => {
      client.send(
        request,
        this.metadata(),
        { deadline: Date.now() + SEND_MS },
        (error, response) => {
          if (!error) return resolve(response.sent);
          this.pause(gatewayId, error.details);
          reject(new DomainError('unavailable', 'the worker could not be reached; try again'));
        },
      );
    });
  }

  /** Returns a client with a connected channel. @throws Unreachable */
  async client(gatewayId: string): Promise<GatewayServiceClient> {
    if (this.shunned.includes(gatewayId))
      throw new Unreachable('the API process of the worker did not respond a moment ago');
    this.prune();
    const client = this.clients.get(gatewayId) ?? (await this.open(gatewayId));
    return new Promise((resolve, reject) =>
      client.waitForReady(Date.now() + CONNECT_MS, (error) => {
        if (!error) return resolve(client);
        this.pause(gatewayId, error.message);
        reject(new Unreachable(error.message));
      }),
    );
  }

  /** Metadata of every call. */
  metadata(): Metadata {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${this.key.text}`);
    return metadata;
  }

  /** IDs of processes that did not respond recently. */
  get shunned(): string[] {
    const now = performance.now();
    for (const [id, until] of this.pausedUntil) if (until <= now) this.pausedUntil.delete(id);
    return [...this.pausedUntil.keys()];
  }

  private async open(gatewayId: string): Promise<GatewayServiceClient> {
    const gateway = await this.gateways.find(gatewayId).catch(() => null);
    if (!gateway) throw new Unreachable('the API process of the worker has stopped');
    const client = new GatewayServiceClient(gateway.address, security(gateway), {
      ...RELAY_OPTIONS,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
      // TLS does not accept an IP address as a name, and the name is not checked.
      ...(gateway.certificate === null ? {} : { 'grpc.ssl_target_name_override': 'gateway' }),
    });
    this.clients.get(gatewayId)?.close();
    this.clients.set(gatewayId, client);
    return client;
  }

  private pause(gatewayId: string, reason: string): void {
    log.warn(
      { gateway: gatewayId, reason },
      'another API process does not respond; API processes must reach each other at --relay-host',
    );
    this.pausedUntil.set(gatewayId, performance.now() + SHUN_MS);
    // The next call opens a new channel: this one may wait for a response that never arrives.
    this.clients.get(gatewayId)?.close();
    this.clients.delete(gatewayId);
  }

  /** Closes the channels to processes that have stopped. */
  private prune(): void {
    const { living } = this.gateways;
    for (const [id, client] of this.clients) {
      if (living.has(id)) continue;
      client.close();
      this.clients.delete(id);
    }
  }

  onModuleDestroy(): void {
    for (const client of this.clients.values()) client.close();
    this.clients.clear();
  }
}

/**
 * Accepts only the certificate that the process stored in the database, regardless of its name and issuer.
 */
function security({ certificate }: Gateway): ChannelCredentials {
  if (certificate === null) return credentials.createInsecure();
  const { fingerprint256 } = new X509Certificate(certificate);
  return credentials.createFromSecureContext(
    createSecureContext({ ca: certificate, allowPartialTrustChain: true }),
    {
      checkServerIdentity: (_host, presented) =>
        presented.fingerprint256 === fingerprint256
          ? undefined
          : new Error('the certificate of the API process differs from the one in the database'),
    },
  );
}
