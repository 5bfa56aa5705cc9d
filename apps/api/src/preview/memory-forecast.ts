import type { MemoryForecast, Spec } from '@graft/contracts';
import {
  reservedForBase,
  residentBytes,
  runBytes,
  sizesOfReports,
  type AnswerSizes,
  type HfConfig,
} from '../catalog/plugins.js';
import type { DataReports } from './reader-protocol.js';

/** Memory that a worker will reserve for a job, estimated from the reports on its data. */
export function memoryForecast(
  spec: Spec,
  config: HfConfig,
  {
    answers,
    ...data
  }: Pick<DataReports, 'training' | 'validation'> & { readonly answers: AnswerSizes },
  isWarmStart: boolean,
): MemoryForecast {
  const sizes = sizesOfReports(spec, data);
  const { base_dtype: dtype, quantization } = spec;
  const base = residentBytes(config, { dtype, quantization });
  const { total: run, spared = 0 } = runBytes(spec, config, { ...sizes, answers }, isWarmStart);
  return {
    base_bytes: base,
    run_bytes: run,
    process_bytes: Math.round(reservedForBase(base) + run),
    gradient_checkpointing_spares_bytes: spared,
  };
}
