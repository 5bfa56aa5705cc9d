// Trace collector. The exporter and the resource detector read OpenTelemetry's environment variables.
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { ExportResultCode, getBooleanFromEnv, getStringFromEnv } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
  type Resource,
} from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { VERSION } from '../config.js';

const PROTOCOL = 'http/protobuf';
const ENDPOINTS = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'];
const PROTOCOLS = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'];

/** 4xx statuses that concern the collector (its configuration or load) and not the spans. */
const OF_COLLECTOR: ReadonlySet<number> = new Set([401, 403, 404, 408, 425, 429]);

/** Error for spans that the collector did not accept. */
export class ExportError extends Error {
  constructor(
    message: string,
    /** Whether the collector would reject the same spans again, though it may accept others. */
    readonly isOfSpans: boolean,
  ) {
    // PostgreSQL's text type cannot contain NUL.
    super(message.replaceAll('\0', '').slice(0, 300));
  }
}

/** Trace collector. Without a configured endpoint, nothing is sent. */
@Injectable()
export class Collector implements OnModuleDestroy {
  readonly resource: Resource;
  private readonly exporter: OTLPTraceExporter | null;

  /** @throws Error if the variables name an address or a protocol that is not supported */
  constructor() {
    this.exporter = isWanted() ? new OTLPTraceExporter() : null;
    this.resource = defaultResource()
      .merge(resourceFromAttributes({ 'service.name': 'graft', 'service.version': VERSION }))
      .merge(detectResources({ detectors: [envDetector] }));
  }

  get isOn(): boolean {
    return this.exporter !== null;
  }

  /** Resolves when the collector has accepted the spans. @throws ExportError */
  send(spans: ReadableSpan[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.exporter?.export(spans, ({ code, error }) => {
        if (code === ExportResultCode.SUCCESS) resolve();
        else reject(exportError(error));
      });
    });
  }

  /** Does not wait for the exporter: another process sends again what was not accepted. */
  onModuleDestroy(): void {
    void this.exporter?.shutdown();
  }
}

function isWanted(): boolean {
  const named = ENDPOINTS.find((name) => getStringFromEnv(name) !== undefined);
  const traces = getStringFromEnv('OTEL_TRACES_EXPORTER') ?? 'otlp';
  if (named === undefined || traces === 'none' || getBooleanFromEnv('OTEL_SDK_DISABLED'))
    return false;
  const endpoint = getStringFromEnv(named) ?? '';
  // The exporter would send to localhost instead.
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
    throw new Error(`${named}: expected an http:// or https:// address, got ${endpoint}`);
  for (const name of PROTOCOLS) {
    const protocol = getStringFromEnv(name) ?? PROTOCOL;
    if (protocol !== PROTOCOL)
      throw new Error(
        `${name}: expected ${PROTOCOL}, the only supported protocol, got ${protocol}`,
      );
  }
  return true;
}

function exportError(error: Error | undefined): ExportError {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  const isOfSpans =
    typeof code === 'number' && code >= 400 && code < 500 && !OF_COLLECTOR.has(code);
  const reason = error?.message ?? 'the exporter gave no reason';
  return new ExportError(
    typeof code === 'number' ? `answered ${code}: ${reason}` : reason,
    isOfSpans,
  );
}
