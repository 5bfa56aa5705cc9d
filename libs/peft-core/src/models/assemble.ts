/** Builds a transformer's sites on the weights of a checkpoint. */
import { DenseWeight } from '../nn/weight.js';
import type { Weight } from '../nn/weight.js';
import { EmbeddingSite, LinearSite, NormSite, Sites } from '../nn/site.js';
import type { Role } from '../nn/site.js';
import { Transformer } from '../nn/transformer.js';
import type { Block } from '../nn/transformer.js';
import type { ModulePaths, TransformerOptions } from '../nn/transformer-options.js';
import { WeightReader } from '../nn/weight-reader.js';
import { quantizerFor } from '../quant/registry.js';
import type { BuildOptions, HfConfig, Model, Tensors } from './model.js';

export interface Family {
  readonly name: string;
  readonly paths: ModulePaths;
}

/** @throws DomainError invalid_model when a weight is missing or has another shape than the options make it */
export function assemble(
  { name, paths }: Family,
  options: TransformerOptions,
  config: HfConfig,
  tensors: Tensors,
  build: BuildOptions,
): Model {
  const assembly = new Assembly(options, paths, new WeightReader(tensors, build.dtype), build);
  try {
    return assembly.model(name, config);
  } catch (error) {
    assembly.dispose();
    throw error;
  }
}

class Assembly {
  readonly #linears: LinearSite[] = [];
  readonly #norms: NormSite[] = [];

  constructor(
    private readonly options: TransformerOptions,
    private readonly paths: ModulePaths,
    private readonly reader: WeightReader,
    private readonly build: BuildOptions,
  ) {}

  model(family: string, config: HfConfig): Model {
    const { options: o, paths, reader } = this;
    const words = new EmbeddingSite(
      paths.words,
      reader.take(`${paths.words}.weight`, [o.vocabSize, o.hiddenSize]),
    );
    const positions =
      paths.positions === undefined
        ? null
        : new EmbeddingSite(
            paths.positions,
            reader.take(`${paths.positions}.weight`, [o.maxPositions, o.hiddenSize]),
          );
    const blocks = Array.from({ length: o.layers }, (_, layer) => this.#block(layer));
    const finalNorm = this.#norm(paths.finalNorm, o.hiddenSize);
    const headSite = this.#head(words);
    const sites = new Sites({
      linears: this.#linears,
      norms: this.#norms,
      embeddings: positions ? [words, positions] : [words],
      tied: o.tiedHead ? [[headSite, words]] : [],
    });
    const { parameterCount } = reader;
    const parts = {
      family,
      config,
      options: o,
      words,
      positions,
      blocks,
      finalNorm,
      headSite,
      sites,
      parameterCount,
    };
    return new Transformer({ ...parts, dtype: this.build.dtype, dispose: () => this.dispose() });
  }

  dispose(): void {
    for (const { weight } of this.#linears) weight.dispose?.();
    for (const tensor of this.reader.owned) tensor.dispose();
  }

  #block(layer: number): Block {
    const { options: o, paths } = this;
    const at = (path: string | undefined): string => (path as string).replace('{n}', String(layer));
    const linear = (role: Role, path: string | undefined, out: number, fanIn: number): LinearSite =>
      this.#linear(at(path), role, layer, out, fanIn);
    const [queries, keys] = [o.heads * o.headDim, o.kvHeads * o.headDim];
    const attentionNorm = this.#norm(at(paths.attentionNorm), o.hiddenSize);
    const qkv: Block['qkv'] = o.fusedQkv
      ? [linear('qkv', paths.qkv, queries + 2 * keys, o.hiddenSize)]
      : [
          linear('q', paths.q, queries, o.hiddenSize),
          linear('k', paths.k, keys, o.hiddenSize),
          linear('v', paths.v, keys, o.hiddenSize),
        ];
    return {
      attentionNorm,
      qkv,
      qNorm: o.qkNorm ? this.#norm(at(paths.qNorm), o.headDim) : null,
      kNorm: o.qkNorm ? this.#norm(at(paths.kNorm), o.headDim) : null,
      o: linear('o', paths.o, o.hiddenSize, queries),
      mlpNorm: this.#norm(at(paths.mlpNorm), o.hiddenSize),
      gate: o.gated ? linear('gate', paths.gate, o.intermediateSize, o.hiddenSize) : null,
      up: linear('up', paths.up, o.intermediateSize, o.hiddenSize),
      down: linear('down', paths.down, o.hiddenSize, o.intermediateSize),
    };
  }

  #linear(path: string, role: Role, layer: number, out: number, fanIn: number): LinearSite {
    const { conv1d, biases } = this.options;
    const stored = this.reader.take(`${path}.weight`, conv1d ? [fanIn, out] : [out, fanIn]);
    const dense = conv1d ? DenseWeight.transposed(stored) : new DenseWeight(stored);
    const { quantization } = this.build;
    const weight: Weight =
      quantization === null ? dense : quantizerFor(quantization).pack(dense.dense());
    const bias = (biases as readonly Role[]).includes(role)
      ? this.reader.take(`${path}.bias`, [out])
      : null;
    return this.#added({ path, role, layer, weight, bias, conv1d });
  }

  #head(words: EmbeddingSite): LinearSite {
    const { tiedHead, vocabSize, hiddenSize } = this.options;
    const path = this.paths.head;
    const matrix = tiedHead
      ? words.weight
      : this.reader.take(`${path}.weight`, [vocabSize, hiddenSize]);
    return this.#added({
      path,
      role: 'head',
      layer: null,
      weight: new DenseWeight(matrix),
      bias: null,
      conv1d: false,
    });
  }

  #added(description: Omit<ConstructorParameters<typeof LinearSite>[0], 'index'>): LinearSite {
    const site = new LinearSite({ ...description, index: this.#linears.length });
    this.#linears.push(site);
    return site;
  }

  #norm(path: string, features: number): NormSite {
    const { norm, normEps } = this.options;
    const weight = this.reader.take(`${path}.weight`, [features]);
    const bias = norm === 'layer' ? this.reader.take(`${path}.bias`, [features]) : null;
    const site = new NormSite(path, norm, normEps, weight, bias);
    this.#norms.push(site);
    return site;
  }
}
