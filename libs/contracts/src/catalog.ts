/** GET /v1/catalog: what this build can train, derived from the plug-in registries. */
export interface Catalog {
  readonly object: 'graft.catalog';
  readonly methods: readonly CatalogMethod[];
  readonly families: readonly {
    readonly name: string;
    readonly title: string;
    readonly model_types: readonly string[];
  }[];
  readonly tasks: readonly {
    readonly name: string;
    readonly title: string;
    readonly summary: string;
    readonly record_formats: readonly string[];
  }[];
  readonly quantizers: readonly { readonly name: string; readonly title: string }[];
  /** JSON schema of the create body's `graft` object. */
  readonly graft_schema: JsonSchema;
}

export interface CatalogMethod {
  /** What users type: PEFT's `peft_type`; "FULL" stands for `"peft": null`. */
  readonly peft_type: string;
  readonly title: string;
  readonly summary: string;
  readonly paper: string | null;
  readonly default_learning_rate: number;
  readonly tasks: readonly string[];
  /** JSON schema of the method's config fields, with defaults and descriptions: the form is drawn from it. */
  readonly schema: JsonSchema;
}

export type JsonSchema = { readonly [key: string]: unknown };
