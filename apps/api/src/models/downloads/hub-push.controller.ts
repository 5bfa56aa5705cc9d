import { once } from 'node:events';
import { Body, Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiTags } from '@nestjs/swagger';
import { DomainError, HubPush, HubPushObject } from '@graft/contracts';
import type { Response } from 'express';
import { Caller, RequireScope, type Principal } from '../../auth/principal.js';
import { ApiJsonOrStreamResponse } from '../../http/openapi.js';
import { bodySchema } from '../../http/parse.js';
import { HubPushes } from './hub-push.service.js';
import { idOf } from '../models.controller.js';

const EXAMPLE = { repo: 'someone/tuned', token: 'hf_yours', private: true, stream: true };

/** Minimum time between two progress chunks. */
const TELL_EVERY_MS = 200;
const HEARTBEAT_MS = 5000;

@ApiTags('models')
@ApiBearerAuth()
@Controller('v1/models')
export class HubPushController {
  constructor(private readonly pushes: HubPushes) {}

  /** Requires the same scope as a download, because it sends the same files. */
  @Post('*id/push')
  @HttpCode(200)
  @RequireScope('files:read')
  @ApiBody({ schema: bodySchema(HubPush, EXAMPLE) })
  @ApiJsonOrStreamResponse(
    HubPushObject,
    HubPushObject,
    'Pushes a model’s files to a repository of the Hugging Face Hub',
  )
  async push(
    @Caller() caller: Principal,
    @Param('id') path: string | string[],
    @Body() body: unknown,
    @Res() response: Response,
  ): Promise<void> {
    const left = new AbortController();
    void once(response, 'close').then(() =>
      left.abort(new Error('the client closed the connection')),
    );
    const streams = (body as { stream?: unknown } | null)?.stream === true;
    const stream = new Stream(response);
    try {
      const done = await this.pushes.push(caller, idOf(path), body, {
        signal: left.signal,
        report: (now) => streams && stream.report(now),
      });
      if (!streams) response.json(done);
      else stream.end(done);
    } catch (error) {
      if (response.destroyed) return;
      if (!response.headersSent) throw error;
      stream.end(
        error instanceof DomainError
          ? error.body()
          : new DomainError('internal_error', 'the push was interrupted').body(),
      );
    }
  }
}

/** Writes server-sent events like those of a streamed answer. */
class Stream {
  private lastAt = -Infinity;

  constructor(private readonly response: Response) {}

  report(now: HubPushObject): void {
    if (performance.now() - this.lastAt < TELL_EVERY_MS) return;
    this.lastAt = performance.now();
    this.write(now);
  }

  end(last: object): void {
    this.write(last);
    this.response.end('data: [DONE]\n\n');
  }

  private write(data: object): void {
    const { response } = this;
    if (!response.headersSent) {
      // Large files are read completely before their first byte is sent.
      const heartbeat = setInterval(() => response.write(': heartbeat\n\n'), HEARTBEAT_MS);
      void once(response, 'close').then(() => clearInterval(heartbeat));
      response.setHeader('content-type', 'text/event-stream; charset=utf-8');
      response.setHeader('cache-control', 'no-cache, no-transform');
      response.setHeader('x-accel-buffering', 'no');
    }
    response.write(`data: ${JSON.stringify(data)}\n\n`);
  }
}
