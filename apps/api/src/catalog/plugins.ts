import type { Catalog, CreateJob, Spec } from '@graft/contracts';

// The one file that touches peft-core, and only its native-free catalogue.

export interface Inspection {
  readonly family: string;
  readonly parameters: number;
  readonly files: readonly string[];
  readonly problems: readonly string[];
}

interface Plugins {
  catalog(): Catalog;
  resolveSpec(body: CreateJob, facts: { trainingRecords: number }): Spec;
  checkRecord(line: string, number: number, task: string): string | null;
  inspectModelFolder(dir: string): Inspection | Promise<Inspection>;
}

const name: string = '@graft/peft-core/catalog';
export const plugins = (await import(name)) as Plugins;
