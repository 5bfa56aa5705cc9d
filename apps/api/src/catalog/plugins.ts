// The one file that touches peft-core, and only its native-free catalogue (beside preview/reader-process.ts: ADR 0009).
export {
  catalog,
  cutAt,
  footprintOf,
  inspectModelFolder,
  LineRanges,
  peftFields,
  readJsonObject,
  readRecord,
  resolveSpec,
  shapeOf,
  totalSteps,
} from '@graft/peft-core/catalog';
export type { BaseFootprint, Columns, HfConfig, Shape } from '@graft/peft-core/catalog';
