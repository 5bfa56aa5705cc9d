/**
 * Rows of the vocabulary that a run trains, PEFT's trainable tokens.      W: [V, D], rows R: [k, D] for ids i₁…iₖ
 *   embedding: y = W'[ids],  W' = W but for W'[iⱼ] = R[j]          head: y = x W'ᵀ
 * R is initialized from W's rows. A tied head uses the same rows. W' is never created: k rows and k columns replace
 * those computed from W.
 */
import {
  clamp,
  embedding,
  ge,
  index,
  indexPut,
  keep,
  linear,
  noGrad,
  tensor,
  tidy,
  to,
  unsqueeze,
  where,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { Embedding } from '../../nn/layers/embedding.js';
import type { Linear, LinearAdapter, Role } from '../../nn/layers/linear.js';
import type { ModuleIndex } from '../../nn/outline/outline.js';
import type { ModuleParameters } from '../frame/parameters.js';

export const ROWS_PART = 'trainable_tokens_delta';

export const tokenIndices = z.array(z.int().min(0)).max(100_000);

interface Named {
  readonly path: string;
}
interface NamedLinear extends Named {
  readonly role: Role;
}

/** Modules that use the rows: an embedding, heads, or an embedding with its tied head. */
export interface ChosenRows<L, E> {
  /** Path of the module that files name. */
  readonly path: string;
  readonly ids: readonly number[];
  readonly embedding: E | null;
  readonly heads: readonly L[];
}

/** Ids of the token embedding, or ids by the end of a module path. */
export type TokenChoice = readonly number[] | Readonly<Record<string, readonly number[]>>;

/** Returns the rows that a config selects. @throws DomainError naming the field for an unknown module or id */
export function chosenRows<L extends NamedLinear, E extends Named>(
  modules: Pick<ModuleIndex<L, Named, E>, 'linears' | 'tokenEmbedding' | 'tied'>,
  choice: TokenChoice,
  vocabulary: number,
  field: string,
): ChosenRows<L, E>[] {
  const input = tableOf(modules, field);
  const heads = modules.linears(['head']);
  const tied = modules.tied().flatMap(([head, table]) => (table === input ? [head] : []));
  const chosen = isList(choice) ? [[input.path, choice] as const] : Object.entries(choice);
  const found = chosen.map(([name, ids]): ChosenRows<L, E> => {
    checkIds(ids, vocabulary, field);
    if (input.path.endsWith(name)) return { path: input.path, ids, embedding: input, heads: [] };
    const named = heads.filter(({ path }) => path.endsWith(name));
    if (named[0]) return { path: named[0].path, ids, embedding: null, heads: named };
    const names = [input, ...heads].map(({ path }) => path).join(', ');
    const message = `${field} lists ${JSON.stringify(name)}; expected ${names}, whose rows are tokens`;
    throw new DomainError('invalid_value', message, `peft.${field}`);
  });
  return following(found, tied);
}

/**
 * Returns the token embedding. @param field config field that requires it @throws DomainError for a model without
 * tokens as input
 */
export function tableOf<E>(
  { tokenEmbedding }: { readonly tokenEmbedding: E | null },
  field: string,
): E {
  if (tokenEmbedding) return tokenEmbedding;
  const message = `${field} requires a base that reads tokens`;
  throw new DomainError('unsupported', message, `peft.${field}`);
}

const isList = (choice: TokenChoice): choice is readonly number[] => Array.isArray(choice);

/** Makes a tied head share the rows of the embedding, unless the two have different token ids. */
function following<L extends Named, E extends Named>(
  found: readonly ChosenRows<L, E>[],
  tied: readonly L[],
): ChosenRows<L, E>[] {
  const input = found.find(({ embedding }) => embedding);
  const isTied = ({ heads }: ChosenRows<L, E>): boolean =>
    heads.some((head) => tied.includes(head));
  const own = found.find(isTied);
  if (!input || (own && own.ids.join() !== input.ids.join())) return [...found];
  return [{ ...input, heads: tied }, ...found.filter((one) => one !== input && !isTied(one))];
}

function checkIds(ids: readonly number[], vocabulary: number, field: string): void {
  const refuse = (message: string): never => {
    throw new DomainError('invalid_value', `${field}: ${message}`, `peft.${field}`);
  };
  if (ids.length === 0) refuse('the list has no tokens');
  const seen = new Set<number>();
  const twice = ids.find((id) => seen.size === seen.add(id).size);
  if (twice !== undefined) refuse(`token ${twice} is listed twice`);
  const beyond = ids.find((id) => id >= vocabulary);
  if (beyond !== undefined)
    refuse(`token ${beyond} is outside the vocabulary of ${vocabulary} tokens`);
}

/** Rejects modules that are trained both by rows and in another way. @throws DomainError */
export function refuseTwice(
  rows: readonly Pick<ChosenRows<unknown, unknown>, 'path'>[],
  others: readonly string[],
  field: string,
): void {
  const twice = rows.find(({ path }) => others.includes(path));
  if (!twice) return;
  const message = `${field} trains rows of ${twice.path}, which is in target_modules or modules_to_save too; choose one`;
  throw new DomainError('invalid_value', message, `peft.${field}`);
}

/** Rows of one choice, attached for a run. */
export class TokenRows {
  readonly #rows: Tensor;
  readonly #ids: Tensor;
  /** Index into R by token id; -1: W's row. */
  readonly #places: Tensor;

  constructor(
    private readonly chosen: ChosenRows<Linear, Embedding>,
    run: number,
    parameters: ModuleParameters,
    random = false,
  ) {
    const { ids, embedding: table, heads } = chosen;
    const weight = this.#weight();
    const [vocabulary, width] = weight.shape as [number, number];
    const places = new Array<number>(vocabulary).fill(-1);
    ids.forEach((id, place) => (places[id] = place));
    [this.#ids, this.#places] = tidy(() => [
      keep(tensor(ids, [ids.length], 'i64')),
      keep(tensor(places, [vocabulary], 'i64')),
    ]);
    this.#rows = random
      ? parameters.normal(ROWS_PART, [ids.length, width], 1)
      : parameters.parameter(ROWS_PART, () => noGrad(() => index(weight, [this.#ids])));
    table?.attach(run, { after: (y, seen) => this.#embedded(y, seen) });
    const adapter: LinearAdapter = { after: (y, x) => this.#scored(y, x) };
    heads.forEach((head) => head.attach(run, adapter));
  }

  /** Returns W' by the name of its module's weight, in W's dtype. */
  merged(): [name: string, weight: Tensor] {
    const weight = this.#weight();
    const whole = noGrad(() =>
      tidy(() => indexPut(weight, [this.#ids], to(this.#rows, weight.dtype)).detach()),
    );
    return [`${this.chosen.path}.weight`, whole];
  }

  dispose(): void {
    this.#ids.dispose();
    this.#places.dispose();
  }

  #weight(): Tensor {
    const { embedding: table, heads } = this.chosen;
    return table?.weight ?? (heads[0] as Linear).weight.dense();
  }

  #embedded(y: Tensor, seen: Tensor): Tensor {
    return tidy(() => {
      const places = index(this.#places, [seen]);
      const own = embedding(to(this.#rows, y.dtype), clamp(places, 0));
      return where(unsqueeze(ge(places, 0), 1), own, y);
    });
  }

  #scored(y: Tensor, x: Tensor): Tensor {
    return tidy(() => indexPut(y, [null, this.#ids], linear(x, to(this.#rows, y.dtype))));
  }
}
