import type { BatchObject } from '@graft/contracts';
import type { Batch } from '../database/entities/batches.js';
import { unix } from '../ids.js';

const NO_TIMES = {
  in_progress_at: null,
  finalizing_at: null,
  completed_at: null,
  failed_at: null,
  expired_at: null,
  cancelling_at: null,
  cancelled_at: null,
};

export function batchObject(batch: Batch): BatchObject {
  const { total, completed, failed, input_tokens, output_tokens } = batch;
  return {
    id: batch.id,
    object: 'batch',
    endpoint: batch.endpoint,
    model: batch.model,
    errors: batch.errors && { object: 'list', data: batch.errors },
    input_file_id: batch.input_file,
    completion_window: batch.completion_window,
    status: batch.status,
    output_file_id: batch.output_file,
    error_file_id: batch.error_file,
    created_at: unix(batch.created_at),
    expires_at: unix(batch.expires_at),
    ...NO_TIMES,
    ...batch.times,
    request_counts: { total, completed, failed },
    usage: {
      input_tokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: input_tokens + output_tokens,
    },
    metadata: batch.metadata,
    graft: { waits_for: batch.status === 'in_progress' ? batch.waits_for : null },
  };
}
