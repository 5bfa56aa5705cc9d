// The one file that touches peft-core, and only its native-free catalogue (beside preview/reader-process.ts: ADR 0009).
export {
  catalog,
  cutAt,
  footprintOf,
  inspectModelFolder,
  peftFields,
  readRecord,
  resolveSpec,
  totalSteps,
} from '@graft/peft-core/catalog';
export type { BaseFootprint, HfConfig } from '@graft/peft-core/catalog';
