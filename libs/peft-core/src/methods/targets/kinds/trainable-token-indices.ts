/** Rows of the vocabulary as targets: `trainable_token_indices`, in addition to a method's other targets. */
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { Embedding } from '../../../nn/layers/embedding.js';
import type { Linear, Role } from '../../../nn/layers/linear.js';
import type { ModuleIndex } from '../../../nn/outline/outline.js';
import type { AttachContext } from '../../method.js';
import { ModuleParameters } from '../../frame/parameters.js';
import type { TargetFields, Targets } from '../targets.js';
import { chosenRows, refuseTwice, tableOf, TokenRows, type ChosenRows } from '../token-rows.js';
import { exportedBy, type TargetKind } from './target-kind.js';

const FIELD = 'trainable_token_indices';

interface Named {
  readonly path: string;
}

/**
 * Returns the rows that a config trains.
 * @param rowsIn returns the number of rows of the token embedding
 * @throws DomainError for unknown tokens or modules, and if tied modules train different tokens
 */
export function rowsOf<L extends Named & { readonly role: Role }, E extends Named>(
  modules: ModuleIndex<L, Named, E>,
  { trainable_token_indices: choice = null, ensure_weight_tying: together }: TargetFields,
  rowsIn: (table: E) => number,
): ChosenRows<L, E>[] {
  if (choice === null) return [];
  const chosen = chosenRows(modules, choice, rowsIn(tableOf(modules, FIELD)), FIELD);
  if (!together || chosen.length < 2 || modules.tied().length === 0) return chosen;
  const message = `ensure_weight_tying: ${FIELD} lists different tokens for the embedding and the head; list the same tokens`;
  throw new DomainError('invalid_value', message, `peft.${FIELD}`);
}

/**
 * Rejects modules that are trained both by rows and in another way.
 * @param whole fully trained parameters, by name
 * @throws DomainError for such a module
 */
export function checkRows(
  rows: readonly ChosenRows<unknown, unknown>[],
  { linears, table }: Targets<Named, Named>,
  whole: ReadonlyMap<string, unknown>,
): void {
  const others = [
    ...linears.map(({ path }) => path),
    ...(table ? [table.path] : []),
    ...[...whole.keys()].map((name) => name.replace(/\.weight$/, '')),
  ];
  refuseTwice(rows, others, FIELD);
}

export class TokenRowTargets implements TargetKind {
  readonly sets: ModuleParameters[] = [];
  readonly #rows: TokenRows[] = [];

  /** Number of modules with trainable rows. */
  get count(): number {
    return this.#rows.length;
  }

  attach(
    chosen: readonly ChosenRows<Linear, Embedding>[],
    { run, seed }: Pick<AttachContext, 'run' | 'seed'>,
  ): void {
    for (const one of chosen) {
      const parameters = new ModuleParameters(`${one.path}.token_adapter`, seed);
      this.sets.push(parameters);
      this.#rows.push(new TokenRows(one, run, parameters));
    }
  }

  exported(): Map<string, Tensor> {
    return exportedBy(this.sets);
  }

  merged(): Map<string, Tensor> {
    return new Map(this.#rows.map((rows) => rows.merged()));
  }

  dispose(): void {
    for (const rows of this.#rows) rows.dispose();
  }
}
