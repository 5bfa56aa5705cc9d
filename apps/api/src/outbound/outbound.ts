import { lookup as resolve } from 'node:dns/promises';
import { request as http, type IncomingMessage } from 'node:http';
import { request as https } from 'node:https';
import { isIP, type BlockList, type LookupFunction } from 'node:net';
import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import { Settings } from '../config.js';
import { contains, isPublic, networks } from './networks.js';

export interface OutboundRequest {
  readonly url: string;
  readonly method: 'GET' | 'POST' | 'PUT';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Time limit from the DNS lookup to the end of the response. */
  readonly timeoutMs: number;
  /** Maximum number of bytes read of the response. After that, the connection is closed. */
  readonly mostBytes: number;
}

export interface OutboundAnswer {
  readonly status: number;
  /** The part of the body that was read, as UTF-8. */
  readonly body: string;
}

/** Thrown for a URL that requests may not be sent to. */
export class NotAllowed extends Error {}

/**
 * Requests to URLs that users provide. They may go to the public internet over https, and to the networks
 * that the operator allows (GRAFT_OUTBOUND_NETWORKS). A host name is resolved once, all its addresses are
 * checked, and the connection uses one of the checked addresses. Redirects are not followed, and no proxy is
 * used.
 */
@Injectable()
export class Outbound {
  private readonly allowed: BlockList;

  constructor({ outboundNetworks }: Settings) {
    this.allowed = networks(outboundNetworks);
  }

  /**
   * Checks a URL before it is stored. A host name that cannot be resolved now is accepted.
   * @throws DomainError that names the field
   */
  async check(text: string, param: string): Promise<void> {
    const refuse = (reason: string): never => {
      throw new DomainError('invalid_value', `${param}: ${reason}`, param);
    };
    const url = URL.canParse(text) ? new URL(text) : refuse('expected a URL such as https://…');
    if (url.protocol !== 'https:' && url.protocol !== 'http:')
      refuse(`expected a URL such as https://…, got ${url.protocol}`);
    if (url.username || url.password) refuse('must not contain a user name or password');
    try {
      await this.addresses(url);
    } catch (error) {
      if (error instanceof NotAllowed) refuse(error.message);
    }
  }

  /** @throws NotAllowed, or an Error with the reason why there is no response */
  async send(request: OutboundRequest): Promise<OutboundAnswer> {
    const late = new AbortController();
    const timer = setTimeout(
      () => late.abort(new Error(`no response within ${request.timeoutMs / 1000} s`)),
      request.timeoutMs,
    );
    try {
      return await Promise.race([this.exchange(request, late.signal), aborted(late.signal)]);
    } finally {
      clearTimeout(timer);
      late.abort(new Error('over'));
    }
  }

  private async exchange(request: OutboundRequest, signal: AbortSignal): Promise<OutboundAnswer> {
    const { method, body, mostBytes } = request;
    const url = new URL(request.url);
    const lookup = await this.lookup(url);
    signal.throwIfAborted();
    const headers = {
      ...request.headers,
      ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
    };
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const send = url.protocol === 'https:' ? https : http;
      send(url, { method, headers, lookup, agent: false, signal })
        .on('response', resolve)
        .on('error', reject)
        .end(body);
    });
    const read = await readUpTo(answer, mostBytes);
    return { status: answer.statusCode ?? 0, body: read.toString('utf8') };
  }

  /**
   * Returns a `lookup` option for a request that resolves the host only to its checked addresses.
   * @throws NotAllowed
   */
  async lookup(url: URL): Promise<LookupFunction> {
    const addresses = await this.addresses(url);
    return (_host, options, done) => {
      if (options.all) return done(null, [...addresses]);
      const [first] = addresses;
      done(null, first?.address ?? '', first?.family);
    };
  }

  /**
   * Resolves a host and checks all its addresses.
   * @throws NotAllowed
   */
  private async addresses({
    protocol,
    hostname,
  }: URL): Promise<readonly { readonly address: string; readonly family: number }[]> {
    const host = hostname.replace(/^\[|\]$/g, '');
    const family = isIP(host);
    const found =
      family === 0
        ? await resolve(host, { all: true, verbatim: true })
        : [{ address: host, family }];
    for (const { address } of found) {
      if (contains(this.allowed, address)) continue;
      if (!isPublic(address))
        throw new NotAllowed(
          `${host} is not an address of the public internet; the operator may allow its network (GRAFT_OUTBOUND_NETWORKS)`,
        );
      if (protocol === 'http:')
        throw new NotAllowed(
          'must begin with https:// unless its network is one that the operator allows (GRAFT_OUTBOUND_NETWORKS)',
        );
    }
    return found;
  }
}

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });

/** Reads at most `most` bytes of a response. The connection of a longer one is closed. */
export async function readUpTo(answer: IncomingMessage, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= most) break;
  }
  return Buffer.concat(chunks).subarray(0, most);
}
