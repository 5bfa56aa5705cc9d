import { Injectable } from '@nestjs/common';
import { BlobStore } from '../blobs/blob-store.js';
import { Database } from '../database/database.js';
import type { Model } from '../database/entities/storage.js';
import { log } from '../log.js';
import { inspectFiles } from './inspect-files.js';

/** Bases that an older build imported, which noted less of them. */
@Injectable()
export class OlderImports {
  constructor(
    private readonly database: Database,
    private readonly blobs: BlobStore,
  ) {}

  /** Notes of GGUF files how their blocks are, without which quantization gguf_blocks is refused. Never rejects. */
  async lookAgain(): Promise<void> {
    try {
      const bases = await this.database.query<Pick<Model, 'id' | 'files'>>(
        `SELECT id, files FROM model WHERE kind = 'base' AND status = 'ready' AND config IS NOT NULL
           AND NOT config ? 'gguf' AND jsonb_path_exists(files, '$[*].name ? (@ like_regex "[.]gguf$")')`,
      );
      for (const base of bases) await this.note(base);
    } catch (error) {
      log.warn({ err: error }, 'could not look for GGUF bases that an older build imported');
    }
  }

  private async note({ id, files }: Pick<Model, 'id' | 'files'>): Promise<void> {
    try {
      const { config } = await inspectFiles(this.blobs, files, new AbortController().signal);
      await this.database.query(
        `UPDATE model SET config = config || jsonb_build_object('gguf', $2::jsonb)
         WHERE id = $1 AND status = 'ready' AND files = $3::jsonb`,
        [id, JSON.stringify(config?.['gguf']), JSON.stringify(files)],
      );
      log.info(
        { model: id },
        'noted how the blocks of a GGUF base are, which an older build imported',
      );
    } catch (error) {
      log.warn(
        { err: error, model: id },
        'could not look at a GGUF base that an older build imported; import it again to use its blocks',
      );
    }
  }
}
