import { request as http, type IncomingMessage } from 'node:http';
import { request as https } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Injectable } from '@nestjs/common';
import { Outbound, readUpTo } from './outbound.js';

type Body = NonNullable<RequestInit['body']>;

export interface FetchLimits {
  /** Origin that the operator configured. Requests may go to it whatever network it is in. */
  readonly trusted: string;
  readonly signal: AbortSignal;
  /** Called with the number of bytes of a file that were sent since the last call. */
  readonly sent: (bytes: number) => void;
}

/** Time without any data in either direction after which a request fails. */
const SILENCE_MS = 60_000;
/** Maximum number of bytes read of a response. */
const MOST_BYTES = 4 << 20;
/** Status codes of responses without a body. */
const EMPTY: readonly number[] = [204, 205, 304];

/**
 * `fetch` under the rules of Outbound, for libraries whose servers return further URLs: the Hub's client
 * uploads files to URLs in its responses. It does not follow redirects, and it reads at most MOST_BYTES of a
 * response.
 */
@Injectable()
export class OutboundFetch {
  constructor(private readonly outbound: Outbound) {}

  under(terms: FetchLimits): typeof fetch {
    return (input, init = {}) =>
      this.exchange(new URL(input instanceof Request ? input.url : input), init, terms);
  }

  private async exchange(
    url: URL,
    { method = 'GET', headers: given, body = null, signal: callerSignal }: RequestInit,
    { trusted, signal: over, sent }: FetchLimits,
  ): Promise<Response> {
    const lookup = url.origin === trusted ? undefined : await this.outbound.lookup(url);
    const signal = callerSignal ? AbortSignal.any([callerSignal, over]) : over;
    signal.throwIfAborted();
    const headers = new Headers(given);
    // Object stores reject uploads without a Content-Length header.
    const length = lengthOf(body);
    if (length !== null) headers.set('content-length', String(length));
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const send = url.protocol === 'https:' ? https : http;
      const options = { method, headers: Object.fromEntries(headers), agent: false, signal };
      const request = send(url, lookup ? { ...options, lookup } : options)
        .on('response', resolve)
        .on('error', reject)
        .setTimeout(SILENCE_MS, () =>
          request.destroy(new Error(`no response within ${SILENCE_MS / 1000} s`)),
        );
      if (body === null) request.end();
      else pipeline(chunksOf(body, body instanceof Blob ? sent : null), request).catch(reject);
    });
    const { statusCode: status = 0 } = answer;
    const read = await readUpTo(answer, MOST_BYTES);
    return new Response(EMPTY.includes(status) ? null : new Uint8Array(read), {
      status,
      headers: Object.entries(answer.headers).map(([name, value]) => [name, String(value)]),
    });
  }
}

function lengthOf(body: Body | null): number | null {
  if (body instanceof Blob) return body.size;
  return typeof body === 'string' ? Buffer.byteLength(body) : null;
}

async function* chunksOf(
  body: Body,
  sent: ((bytes: number) => void) | null,
): AsyncGenerator<Uint8Array> {
  const { body: stream } = new Response(body);
  if (stream === null) return;
  for await (const chunk of Readable.fromWeb(stream as never) as AsyncIterable<Uint8Array>) {
    yield chunk;
    sent?.(chunk.length);
  }
}
