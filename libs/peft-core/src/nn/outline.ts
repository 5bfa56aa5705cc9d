/** A model's modules by their shapes alone: what there is to attach to, known from config.json without any weights. */
import type { Role } from './site.js';
import type { ModulePaths, TransformerOptions } from './transformer-options.js';

export interface LinearShape {
  /** Module path as transformers has it. */
  readonly path: string;
  readonly role: Role;
  readonly layer: number | null;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly hasBias: boolean;
}

export interface NormShape {
  readonly path: string;
  readonly features: number;
  readonly hasBias: boolean;
}

export interface TableShape {
  readonly path: string;
  readonly rows: number;
  readonly columns: number;
}

/** What picks among modules sees of them: shapes here, sites of a loaded model (site.ts). */
export interface Modules<
  L extends { readonly path: string; readonly role: Role },
  N extends { readonly path: string },
  E extends { readonly path: string },
> {
  linears(roles?: readonly Role[]): readonly L[];
  norms(): readonly N[];
  /** The first is that of token ids. */
  embeddings(): readonly E[];
  /** Heads that share an embedding's matrix. */
  tied(): readonly (readonly [L, E])[];
}

/** Linears of these roles, in the model's order; all of them when left out. A fused `qkv` answers for q, k and v. */
export function ofRoles<L extends { readonly role: Role }>(
  linears: readonly L[],
  roles?: readonly Role[],
): readonly L[] {
  if (!roles) return linears;
  const wanted = new Set<Role>(roles);
  if (wanted.has('q') || wanted.has('k') || wanted.has('v')) wanted.add('qkv');
  return linears.filter(({ role }) => wanted.has(role));
}

export class Outline implements Modules<LinearShape, NormShape, TableShape> {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly maxPositions: number;
  readonly #linears: readonly LinearShape[];
  readonly #norms: readonly NormShape[];
  readonly #embeddings: readonly TableShape[];
  readonly #tied: readonly (readonly [LinearShape, TableShape])[];

  constructor(options: TransformerOptions, paths: ModulePaths) {
    this.layers = options.layers;
    this.hiddenSize = options.hiddenSize;
    this.heads = options.heads;
    this.kvHeads = options.kvHeads;
    this.headDim = options.headDim;
    this.maxPositions = options.maxPositions;
    const layers = Array.from({ length: options.layers }, (_, layer) => layer);
    const words = table(paths.words, options.vocabSize, options.hiddenSize);
    const head = {
      ...linear(paths.head, 'head', null, [options.vocabSize, options.hiddenSize]),
      hasBias: false,
    };
    this.#linears = [...layers.flatMap((layer) => blockLinears(options, paths, layer)), head];
    this.#norms = [
      ...layers.flatMap((layer) => blockNorms(options, paths, layer)),
      normShape(options, paths.finalNorm, options.hiddenSize),
    ];
    this.#embeddings =
      paths.positions === undefined
        ? [words]
        : [words, table(paths.positions, options.maxPositions, options.hiddenSize)];
    this.#tied = options.tiedHead ? [[head, words]] : [];
  }

  linears(roles?: readonly Role[]): readonly LinearShape[] {
    return ofRoles(this.#linears, roles);
  }

  norms(): readonly NormShape[] {
    return this.#norms;
  }

  embeddings(): readonly TableShape[] {
    return this.#embeddings;
  }

  tied(): readonly (readonly [LinearShape, TableShape])[] {
    return this.#tied;
  }
}

const at = (path: string | undefined, layer: number): string =>
  (path as string).replace('{n}', String(layer));

const table = (path: string, rows: number, columns: number): TableShape => ({
  path,
  rows,
  columns,
});

const linear = (
  path: string,
  role: Role,
  layer: number | null,
  [outFeatures, inFeatures]: readonly [number, number],
): Omit<LinearShape, 'hasBias'> => ({ path, role, layer, inFeatures, outFeatures });

const normShape = ({ norm }: TransformerOptions, path: string, features: number): NormShape => ({
  path,
  features,
  hasBias: norm === 'layer',
});

/** In the order in which a block uses them. */
function blockLinears(o: TransformerOptions, paths: ModulePaths, layer: number): LinearShape[] {
  const [queries, keys] = [o.heads * o.headDim, o.kvHeads * o.headDim];
  const { hiddenSize: hidden, intermediateSize: inner } = o;
  const shape = (
    role: Role,
    path: string | undefined,
    out: number,
    fanIn: number,
  ): LinearShape => ({
    ...linear(at(path, layer), role, layer, [out, fanIn]),
    hasBias: (o.biases as readonly Role[]).includes(role),
  });
  const attention = o.fusedQkv
    ? [shape('qkv', paths.qkv, queries + 2 * keys, hidden)]
    : [
        shape('q', paths.q, queries, hidden),
        shape('k', paths.k, keys, hidden),
        shape('v', paths.v, keys, hidden),
      ];
  return [
    ...attention,
    shape('o', paths.o, hidden, queries),
    ...(o.gated ? [shape('gate', paths.gate, inner, hidden)] : []),
    shape('up', paths.up, inner, hidden),
    shape('down', paths.down, hidden, inner),
  ];
}

function blockNorms(o: TransformerOptions, paths: ModulePaths, layer: number): NormShape[] {
  const norm = (path: string | undefined, features: number): NormShape =>
    normShape(o, at(path, layer), features);
  return [
    norm(paths.attentionNorm, o.hiddenSize),
    ...(o.qkNorm ? [norm(paths.qNorm, o.headDim), norm(paths.kNorm, o.headDim)] : []),
    norm(paths.mlpNorm, o.hiddenSize),
  ];
}
