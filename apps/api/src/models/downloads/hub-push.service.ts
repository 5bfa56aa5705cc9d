import { pathToFileURL } from 'node:url';
import { createRepo, HubApiError, uploadFiles } from '@huggingface/hub';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { DomainError, HubPush, parseBody, type HubPushObject } from '@graft/contracts';
import { Audit } from '../../auth/audit.js';
import type { Principal } from '../../auth/principal.js';
import { Settings } from '../../config.js';
import { Database } from '../../database/database.js';
import { Slots } from '../../limits/slots.js';
import { NotAllowed } from '../../outbound/outbound.js';
import { OutboundFetch } from '../../outbound/outbound-fetch.js';
import { Archives, type Archive } from './archives.service.js';

const COMMIT_TITLE = 'Upload from Graft';

/** Slots of pushes. Each takes as long as the hub needs. */
const slots = new Slots({
  atOnce: 16,
  each: 4,
  waiting: 64,
  waitingEach: 16,
  what: 'models are being pushed',
});

/** Caller of a push: `report` receives progress, and `signal` aborts when the client has left. */
export interface PushObserver {
  readonly signal: AbortSignal;
  readonly report: (now: HubPushObject) => void;
}

/** Push request with the model's archive. */
interface Push extends HubPush {
  readonly model: string;
  readonly archive: Archive;
}

/**
 * Pushes a model's files in one commit to a repository of the hub that the operator configured (HF_ENDPOINT).
 * A push ends with its request, because the token is not stored (docs/adr/0024). Only its start is recorded.
 */
@Injectable()
export class HubPushes implements OnModuleDestroy {
  private readonly closing = new AbortController();

  constructor(
    private readonly archives: Archives,
    private readonly fetches: OutboundFetch,
    private readonly settings: Settings,
    private readonly database: Database,
    private readonly audit: Audit,
  ) {}

  onModuleDestroy(): void {
    this.closing.abort(
      new DomainError('unavailable', 'the server is stopping; push again in a moment'),
    );
  }

  /** @throws DomainError with the hub's error, or the reason why the push was stopped */
  async push(
    caller: Principal,
    model: string,
    body: unknown,
    { signal: left, report }: PushObserver,
  ): Promise<HubPushObject> {
    const archive = await this.archives.of(caller, model);
    const parsed = parseBody(HubPush, body);
    const signal = AbortSignal.any([left, this.closing.signal]);
    const done = await slots.take(caller.projectId, signal);
    try {
      return await this.send(caller, { ...parsed, model, archive }, { signal, report });
    } finally {
      done();
    }
  }

  private async send(
    caller: Principal,
    { model, archive, repo, token, private: isPrivate = false }: Push,
    { signal, report }: PushObserver,
  ): Promise<HubPushObject> {
    const hub = new URL(this.settings.hubUrl);
    const total = totalBytes(archive);
    let sent = 0;
    const now = (status: HubPushObject['status'], url: string | null): HubPushObject => {
      const bytes_sent = status === 'succeeded' ? total : Math.min(sent, total);
      return { object: 'graft.hub_push', model, repo, status, bytes_sent, total_bytes: total, url };
    };
    const fetch = this.fetches.under({
      trusted: hub.origin,
      signal,
      sent: (bytes) => {
        sent += bytes;
        report(now('running', null));
      },
    });
    const where = { repo: { type: 'model', name: repo }, accessToken: token, fetch } as const;
    const hubUrl = this.settings.hubUrl.replace(/\/+$/, '');
    try {
      await createRepo({ ...where, hubUrl, visibility: isPrivate ? 'private' : 'public' }).catch(
        (error: unknown) => {
          if (error instanceof HubApiError && error.statusCode === 409) return; // it exists already
          throw error;
        },
      );
      report(now('running', null));
      await this.auditPush(caller, model, repo);
      const files = filesOf(archive);
      const how = { commitTitle: COMMIT_TITLE, useXet: false, abortSignal: signal };
      await uploadFiles({ ...where, hubUrl, files, ...how });
    } catch (error) {
      throw pushError(error, { signal, token, where: `${hubUrl}/${repo}` });
    }
    return now('succeeded', `${hubUrl}/${repo}`);
  }

  /** Writes the audit entry before the first file is sent, so that no file leaves without one. */
  private auditPush(caller: Principal, model: string, repo: string): Promise<void> {
    return this.database.transaction((manager) =>
      this.audit.write(manager, {
        caller,
        action: 'model.pushed',
        target: model,
        detail: { repo },
        projectId: caller.projectId,
      }),
    );
  }
}

const totalBytes = ({ contents }: Archive): number =>
  contents.reduce((sum, one) => sum + ('text' in one ? one.text.length : one.size), 0);

/**
 * Files as URLs. openAsBlob rejects a file that was replaced by one with the same bytes, and supports sizes
 * up to 4 GiB only.
 */
const filesOf = ({ contents }: Archive): { path: string; content: Blob | URL }[] =>
  contents.map((one) => ({
    path: one.name,
    content: 'text' in one ? new Blob([new Uint8Array(one.text)]) : pathToFileURL(one.path),
  }));

interface Failed {
  readonly signal: AbortSignal;
  readonly token: string;
  readonly where: string;
}

/** Converts an error of a push. The hub's message may contain the token, which is removed. */
function pushError(error: unknown, { signal, token, where }: Failed): unknown {
  if (signal.aborted) return signal.reason;
  const reason = reasonOf(error).replaceAll(token, '[token]').slice(0, 500);
  const status = error instanceof HubApiError ? error.statusCode : null;
  if (status === 401 || status === 403)
    return new DomainError('invalid_value', `token: ${where} rejected it: ${reason}`, 'token');
  return new DomainError('unavailable', `cannot push to ${where}: ${reason}`);
}

function reasonOf(error: unknown): string {
  if (error instanceof NotAllowed)
    return `it asks for uploads to an address that is not allowed: ${error.message}`;
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if ((error as NodeJS.ErrnoException).code === 'ENOENT')
    return 'a file of the model no longer exists';
  return error instanceof Error ? error.message : String(error);
}
