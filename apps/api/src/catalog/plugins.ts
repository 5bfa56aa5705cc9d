// The one file that touches peft-core, and only its native-free catalogue.
export {
  catalog,
  inspectModelFolder,
  peftFields,
  readRecord,
  resolveSpec,
} from '@graft/peft-core/catalog';
