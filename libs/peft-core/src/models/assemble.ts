/** Builds a transformer's sites on the weights of a checkpoint. */
import { DenseWeight } from '../nn/weight.js';
import type { Weight } from '../nn/weight.js';
import { EmbeddingSite, LinearSite, NormSite, Sites } from '../nn/site.js';
import { Outline } from '../nn/outline.js';
import type { LinearShape, NormShape } from '../nn/outline.js';
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
  readonly #linearShapes: ReadonlyMap<string, LinearShape>;
  readonly #normShapes: ReadonlyMap<string, NormShape>;

  constructor(
    private readonly options: TransformerOptions,
    private readonly paths: ModulePaths,
    private readonly reader: WeightReader,
    private readonly build: BuildOptions,
  ) {
    const outline = new Outline(options, paths);
    this.#linearShapes = new Map(outline.linears().map((shape) => [shape.path, shape]));
    this.#normShapes = new Map(outline.norms().map((shape) => [shape.path, shape]));
  }

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
    const finalNorm = this.#norm(paths.finalNorm);
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
    const linear = (path: string | undefined): LinearSite => this.#linear(at(path));
    const norm = (path: string | undefined): NormSite => this.#norm(at(path));
    const attentionNorm = norm(paths.attentionNorm);
    const qkv: Block['qkv'] = o.fusedQkv
      ? [linear(paths.qkv)]
      : [linear(paths.q), linear(paths.k), linear(paths.v)];
    return {
      attentionNorm,
      qkv,
      qNorm: o.qkNorm ? norm(paths.qNorm) : null,
      kNorm: o.qkNorm ? norm(paths.kNorm) : null,
      o: linear(paths.o),
      mlpNorm: norm(paths.mlpNorm),
      gate: o.gated ? linear(paths.gate) : null,
      up: linear(paths.up),
      down: linear(paths.down),
    };
  }

  #linear(path: string): LinearSite {
    const { conv1d } = this.options;
    const shape = this.#linearShapes.get(path) as LinearShape;
    const { role, layer, outFeatures: out, inFeatures: fanIn } = shape;
    const stored = this.reader.take(`${path}.weight`, conv1d ? [fanIn, out] : [out, fanIn]);
    const dense = conv1d ? DenseWeight.transposed(stored) : new DenseWeight(stored);
    const { quantization } = this.build;
    const weight: Weight =
      quantization === null ? dense : quantizerFor(quantization).pack(dense.dense());
    const bias = shape.hasBias ? this.reader.take(`${path}.bias`, [out]) : null;
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

  #norm(path: string): NormSite {
    const { norm, normEps } = this.options;
    const { features, hasBias } = this.#normShapes.get(path) as NormShape;
    const weight = this.reader.take(`${path}.weight`, [features]);
    const bias = hasBias ? this.reader.take(`${path}.bias`, [features]) : null;
    const site = new NormSite(path, norm, normEps, weight, bias);
    this.#norms.push(site);
    return site;
  }
}
