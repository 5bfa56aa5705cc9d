/** Whether files hold what a model is made of, by their headers: what assemble.ts takes of them, looked for. Native-free. */
import { DomainError } from '@graft/contracts';
import { partsOf } from '../nn/expert-files.js';
import type { ExpertsShape } from '../nn/experts.js';
import { describe, isPackable, storedShape } from '../nn/outline.js';
import type { LinearShape, ModuleMaker, NormShape, TableShape } from '../nn/outline.js';
import { checkShape, lacking, StoredNames } from '../nn/stored-names.js';
import type { Stored } from '../nn/stored-names.js';
import type { Quantizer } from '../quant/quantizer.js';
import { storedQuantizer } from '../quant/registry.js';
import type { HfConfig } from './model.js';
import { forConfig, optionsOf } from './registry.js';

/**
 * What `buildModel` would refuse in these files, in the order in which it comes to it.
 * @param stored by full names
 * @throws DomainError invalid_model for a config that does not describe a model of its family
 */
export function weightProblems(config: HfConfig, stored: Stored): readonly string[] {
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
  readonly problems: string[] = [];

  constructor(
    private readonly stored: Stored,
    private readonly names: StoredNames,
    private readonly quantizer: Quantizer | null,
  ) {}

  readonly linear = (shape: LinearShape): LinearShape => {
    this.#attempt(() => {
      if (!this.#isHeldPacked(shape)) this.#take(shape.path, 'weight', storedShape(shape));
    });
    return this.tied(shape);
  };

  readonly tied = (shape: LinearShape): LinearShape => {
    const { path, outFeatures, hasBias } = shape;
    if (hasBias) this.#attempt(() => this.#take(path, 'bias', [outFeatures]));
    return shape;
  };

  readonly pooler = (shape: LinearShape): LinearShape | null =>
    this.names.has(shape.path) ? this.linear(shape) : null;

  readonly norm = (shape: NormShape): NormShape => {
    const { path, features, hasBias } = shape;
    this.#attempt(() => this.#take(path, 'weight', [features]));
    if (hasBias) this.#attempt(() => this.#take(path, 'bias', [features]));
    return shape;
  };

  readonly poolerNorm = this.norm;

  readonly embedding = (table: TableShape): TableShape => {
    const { path, rows, columns, isKernel, parameter } = table;
    this.#attempt(() => {
      if (parameter) return this.#expect(path, this.names.parameter(path), parameter);
      this.#take(path, 'weight', isKernel ? [rows, 1, columns] : [rows, columns]);
    });
    return table;
  };

  readonly experts = (shape: ExpertsShape): ExpertsShape => {
    const parts = partsOf([shape]);
    for (const [whole, wanted] of shape.shapes) {
      if (this.stored.has(whole)) this.tensor(whole, wanted);
      else for (const part of parts.get(whole) ?? []) this.tensor(part.file, part.shape);
    }
    return shape;
  };

  tensor(file: string, shape: readonly number[]): void {
    this.#attempt(() => this.#expect(file, file, shape));
  }

  #isHeldPacked(shape: LinearShape): boolean {
    const { quantizer, stored } = this;
    if (!quantizer?.holds || !isPackable(shape, quantizer.tables ?? false)) return false;
    return quantizer.holds(stored, this.names.module(shape.path).file, shape);
  }

  #take(path: string, part: 'weight' | 'bias', wanted: readonly number[]): void {
    const { name, file, shape } = this.names.place(path, part, wanted);
    this.#expect(name, file, shape);
  }

  #expect(name: string, file: string, shape: readonly number[]): void {
    const found = this.stored.get(file);
    if (!found) throw lacking(file);
    checkShape(name, found, shape);
  }

  #attempt(look: () => void): void {
    try {
      look();
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      this.problems.push(error.message);
    }
  }
}
