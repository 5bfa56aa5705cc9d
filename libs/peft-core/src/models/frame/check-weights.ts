/** Whether files hold what a model is made of, by their headers: what assemble.ts takes of them, looked for. Native-free. */
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

/** More are not counted: how many there are config.json alone says. */
const MOST = 1000;

export interface WeightProblems {
  /** The first that `buildModel` would refuse, in its words; null where it takes the files. */
  readonly first: string | null;
  /** How many other tensors are missing or of another shape: of those that files have, each once. */
  readonly others: number;
  /** Whether there are more of them than were counted. */
  readonly isCut: boolean;
  /** What the files are, where that tells more; null where it is not known. */
  readonly kind: string | null;
}

/**
 * What `buildModel` would refuse in these files.
 * @param stored by full names
 * @throws DomainError invalid_model for a config that does not describe a model of its family
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

/** Makes nothing: what comes back are the shapes. */
class Check implements ModuleMaker<LinearShape, NormShape, TableShape, ExpertsShape> {
  #first: string | null = null;
  /** Tensors that are missing or of another shape, by the names that files give them. */
  readonly #refused = new Set<string>();
  /** How many of them are missing, */
  #missing = 0;
  /** and how many were found. */
  #found = 0;
  /** What the head for tokens is made of, by its names in files. */
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
    // what is packed has up to seven tensors
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
    if (!this.stored.has(file)) this.#lack([file]);
    else this.#expect(file, file, shape);
  }

  #unpacked(file: string, shape: readonly number[]): void {
    const refusal = packedRefusal(this.stored, file);
    // of all experts once: how many they are tells nothing
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
    this.#lack(this.names.wanted(path, part));
  }

  #parameter(path: string, shape: readonly number[]): void {
    const file = this.names.parameter(path);
    if (file !== null) return this.#expect(path, file, shape);
    this.#lack(this.names.wanted(path));
  }

  #expect(name: string, file: string, shape: readonly number[]): void {
    const found = this.stored.get(file);
    this.#found++;
    if (found && !isShaped(found, shape)) this.#refuse(file, () => misshapen(name, found, shape));
  }

  #lack(names: readonly [string, ...string[]]): void {
    if (!this.#refused.has(names[0])) this.#missing++;
    this.#refuse(names[0], () => lacking(...names));
  }

  /** @param refusal what the loader would say: only that of the first tensor is made, as many may be refused */
  #refuse(file: string, refusal: () => DomainError): void {
    if (this.#isEnough) return;
    this.#first ??= refusal().message;
    this.#refused.add(file);
  }
}
