/** Checks by their headers whether files contain the weights that assemble.ts reads. Loads no native code. */
import { DomainError } from '@graft/contracts';
import { packedRefusal, partsOf } from '../../nn/outline/expert-files.js';
import type { ExpertsShape } from '../../nn/layers/experts.js';
import { describe } from '../../nn/outline/description.js';
import { isPackable, storedShape } from '../../nn/outline/outline.js';
import type { ModuleMaker } from '../../nn/outline/description.js';
import type { LinearShape, NormShape, TableShape } from '../../nn/outline/outline.js';
import { isShaped, lacking, misshapen, StoredNames } from '../../nn/outline/stored-names.js';
import type { StoredTensor } from '../../nn/outline/stored-names.js';
import type { Quantizer } from '../../quant/quantizer.js';
import { storedQuantizer } from '../../quant/registry.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { forConfig, optionsOf } from '../registry.js';

/** Limit on the number of counted problems. config.json alone determines how many tensors are expected. */
const MOST = 1000;

export interface WeightProblems {
  /** First error of `buildModel`, in its words; null if it accepts the files. */
  readonly first: string | null;
  /**
   * Number of other file tensors that are missing or have another shape. A tensor of several modules counts
   * once.
   */
  readonly others: number;
  /** Whether there are more of them than `others` counts. */
  readonly isCut: boolean;
  /** Likely cause, such as files of another kind of model; null if unknown. */
  readonly kind: string | null;
}

/**
 * Returns the errors that `buildModel` would report for these files.
 * @param stored tensors by full names
 * @throws DomainError invalid_model if the config does not describe a model of its family
 */
export function weightProblems(
  config: HfConfig,
  stored: ReadonlyMap<string, StoredTensor>,
): WeightProblems {
  const { paths, aliases = {} } = forConfig(config);
  const options = optionsOf(config);
  const names = new StoredNames(stored, aliases);
  const check = new Check(stored, names, storedQuantizer(config));
  describe<LinearShape, NormShape, TableShape, ExpertsShape>(options, paths, check);
  const { logitBias } = paths;
  if (logitBias !== undefined && stored.has(logitBias))
    check.tensor(logitBias, [1, options.vocabSize]);
  return check.problems;
}

/** Records problems instead of making modules. */
class Check implements ModuleMaker<LinearShape, NormShape, TableShape, ExpertsShape> {
  #first: string | null = null;
  /** Names in files of tensors that are missing or have another shape. */
  readonly #refused = new Set<string>();
  /** Number of missing tensors. */
  #missing = 0;
  /** Number of tensors that were found. */
  #found = 0;
  /** Names in files of the lm head's tensors. */
  readonly #head = new Set<string>();

  constructor(
    private readonly stored: ReadonlyMap<string, StoredTensor>,
    private readonly names: StoredNames,
    private readonly quantizer: Quantizer | null,
  ) {}

  get problems(): WeightProblems {
    const others = Math.max(0, this.#refused.size - 1);
    const isCut = others > MOST;
    return { first: this.#first, others: Math.min(others, MOST), isCut, kind: this.#kind };
  }

  get #kind(): string | null {
    const [first] = this.stored.keys();
    // a quantized matrix has up to seven tensors
    if (first !== undefined && this.#missing > this.#found && 10 * this.#found < this.stored.size)
      return `the files use other tensor names (the first: ${first})`;
    const refused = [...this.#refused];
    if (
      refused.length > 0 &&
      this.#missing === refused.length &&
      refused.every((name) => this.#head.has(name))
    )
      // prettier-ignore
      return 'they belong to a model without a language-model head: an embedding model or a bare backbone';
    return null;
  }

  readonly linear = (shape: LinearShape): LinearShape => {
    if (shape.role === 'head') this.#head.add(this.names.wanted(shape.path, 'weight')[0]);
    if (!this.#isHeldPacked(shape)) this.#take(shape.path, 'weight', storedShape(shape));
    return this.tied(shape);
  };

  readonly tied = (shape: LinearShape): LinearShape => {
    const { path, role, outFeatures, hasBias } = shape;
    if (role === 'head') this.#head.add(this.names.wanted(path, 'bias')[0]);
    if (hasBias) this.#take(path, 'bias', [outFeatures]);
    return shape;
  };

  readonly has = (path: string): boolean => this.names.has(path);

  readonly pooler = (shape: LinearShape): LinearShape | null =>
    this.names.has(shape.path) ? this.linear(shape) : null;

  readonly norm = (shape: NormShape): NormShape => {
    const { path, features, hasBias } = shape;
    this.#take(path, 'weight', [features]);
    if (hasBias) this.#take(path, 'bias', [features]);
    return shape;
  };

  readonly poolerNorm = this.norm;

  readonly embedding = (table: TableShape): TableShape => {
    const { path, rows, columns, isKernel, parameter } = table;
    if (parameter) this.#parameter(path, parameter);
    else this.#take(path, 'weight', isKernel ? [rows, 1, columns] : [rows, columns]);
    return table;
  };

  readonly experts = (shape: ExpertsShape): ExpertsShape => {
    if (this.#isEnough) return shape;
    const parts = partsOf([shape]);
    for (const [whole, wanted] of shape.shapes) {
      if (this.stored.has(whole)) this.#unpacked(whole, wanted);
      else for (const part of parts.get(whole) ?? []) this.#unpacked(part.file, part.shape);
    }
    return shape;
  };

  tensor(file: string, shape: readonly number[]): void {
    if (!this.stored.has(file)) this.#refuseMissing([file]);
    else this.#expect(file, file, shape);
  }

  #unpacked(file: string, shape: readonly number[]): void {
    const refusal = packedRefusal(this.stored, file);
    // one problem for all experts, because their number adds no information
    if (refusal) this.#refuse('experts', () => refusal);
    else this.tensor(file, shape);
  }

  get #isEnough(): boolean {
    return this.#refused.size > MOST + 1;
  }

  #isHeldPacked(shape: LinearShape): boolean {
    const { quantizer, stored } = this;
    if (!quantizer?.holds || !isPackable(shape, quantizer.tables ?? false)) return false;
    const { file } = this.names.module(shape.path);
    try {
      const isHeld = quantizer.holds(stored, file, shape);
      if (isHeld) this.#found++;
      return isHeld;
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      this.#refuse(`${file}.weight`, () => error);
      return true;
    }
  }

  #take(path: string, part: 'weight' | 'bias', shape: readonly number[]): void {
    if (this.#isEnough) return;
    const place = this.names.placed(path, part, shape);
    if (place) return this.#expect(place.name, place.file, place.shape);
    this.#refuseMissing(this.names.wanted(path, part));
  }

  #parameter(path: string, shape: readonly number[]): void {
    const file = this.names.parameter(path);
    if (file !== null) return this.#expect(path, file, shape);
    this.#refuseMissing(this.names.wanted(path));
  }

  #expect(name: string, file: string, shape: readonly number[]): void {
    const found = this.stored.get(file);
    this.#found++;
    if (found && !isShaped(found, shape)) this.#refuse(file, () => misshapen(name, found, shape));
  }

  #refuseMissing(names: readonly [string, ...string[]]): void {
    if (!this.#refused.has(names[0])) this.#missing++;
    this.#refuse(names[0], () => lacking(...names));
  }

  /**
   * @param refusal creates the loader's error; called only for the first tensor, because many may be rejected
   */
  #refuse(file: string, refusal: () => DomainError): void {
    if (this.#isEnough) return;
    this.#first ??= refusal().message;
    this.#refused.add(file);
  }
}
