import type { JobObject } from './openai.js';

type Made = Pick<JobObject, 'peft'> & { readonly graft: Pick<JobObject['graft'], 'operation'> };

/** What makes a job's model: peft_type of its method, FULL, or the type of an operation on adapters. */
export function methodOf({ peft, graft: { operation } }: Made): string {
  if (operation) return operation.type;
  const type = peft?.['peft_type'];
  return typeof type === 'string' ? type : 'FULL';
}

/** A job's base, and how it is held where it is packed: "smollm2 in nf4". */
export const baseText = ({ model, graft }: JobObject): string =>
  typeof graft.quantization === 'string' ? `${model} in ${graft.quantization}` : model;
