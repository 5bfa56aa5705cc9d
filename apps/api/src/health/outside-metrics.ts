import { statfs } from 'node:fs/promises';
import { INTEGRATION_TYPES, type IntegrationType } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { IS_OPEN } from '../database/entities/job.js';
import { Counters } from '../metrics/counters.js';
import { Collector } from '../traces/collector.js';

/** SQL: the row's project is archived. Its failures are not counted because no one will resolve them. */
const IS_ARCHIVED = `EXISTS (SELECT 1 FROM project WHERE project.id = project_id AND archived_at IS NOT NULL)`;

/**
 * Metrics of external dependencies except the database and workers: disk, webhooks, trackers and traces.
 */
@Injectable()
export class OutsideMetrics {
  constructor(
    private readonly database: Database,
    private readonly counters: Counters,
    private readonly settings: Settings,
    private readonly collector: Collector,
  ) {}

  async read(): Promise<void> {
    await Promise.all([this.disk(), this.webhooks(), this.integrations(), this.traces()]);
  }

  /** Measures the disk that stores blobs; with S3, the disk for uploads that are not in S3 yet. */
  private async disk(): Promise<void> {
    const { blocks, bavail, bsize } = await statfs(this.settings.blobsDir);
    this.counters.diskSize.set(blocks * bsize);
    this.counters.diskFree.set(bavail * bsize);
  }

  private async webhooks(): Promise<void> {
    const [row] = await this.database.query<Record<'on' | 'failing' | 'disabled', number>>(
      `SELECT (count(*) FILTER (WHERE disabled_at IS NULL AND failing_since IS NULL))::int AS "on",
         (count(*) FILTER (WHERE disabled_at IS NULL AND failing_since IS NOT NULL))::int AS failing,
         (count(*) FILTER (WHERE disabled_reason IS NOT NULL))::int AS disabled
       FROM webhook_endpoint WHERE NOT ${IS_ARCHIVED}`,
    );
    for (const state of ['on', 'failing', 'disabled'] as const)
      this.counters.webhooks.set({ state }, row?.[state] ?? 0);
  }

  private async integrations(): Promise<void> {
    const rows = await this.database.query<{
      type: IntegrationType;
      on: number;
      failing: number;
    }>(
      `SELECT type, (count(*) FILTER (WHERE failing_since IS NULL))::int AS "on",
         (count(*) FILTER (WHERE failing_since IS NOT NULL))::int AS failing
       FROM integration WHERE NOT ${IS_ARCHIVED} GROUP BY type`,
    );
    for (const type of INTEGRATION_TYPES)
      for (const state of ['on', 'failing'] as const)
        this.counters.integrations.set(
          { type, state },
          rows.find((row) => row.type === type)?.[state] ?? 0,
        );
  }

  /** Number of waiting traces. It is 0 without a collector, even if jobs were created while there was one. */
  private async traces(): Promise<void> {
    if (!this.collector.isOn) return this.counters.tracesWaiting.set(0);
    const [row] = await this.database.query<{ waiting: number }>(
      `SELECT count(*)::int AS waiting FROM trace_export JOIN job ON job.id = job_id
       WHERE status = 'open' AND NOT ${IS_OPEN}`,
    );
    this.counters.tracesWaiting.set(row?.waiting ?? 0);
  }
}
