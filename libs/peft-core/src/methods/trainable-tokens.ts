/** Trainable tokens: only some rows of the embedding, of which the run has its own copies (token-rows.ts). */
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { ModuleIndex } from '../nn/outline/outline.js';
import type { Role } from '../nn/layers/linear.js';
import { defineMethod } from './method.js';
import { moduleNames } from './frame/fields.js';
import type { NamedTensors } from './method.js';
import { ModuleParameters, restore } from './frame/parameters.js';
import { matcher } from './targets/targets.js';
import { chosenRows, ROWS_PART, tableOf, tokenIndices, TokenRows } from './targets/token-rows.js';
import type { ChosenRows } from './targets/token-rows.js';
import { SHARED_WEIGHT } from './frame/unmerged.js';

const Options = z.strictObject({
  token_indices: tokenIndices
    .default([])
    .describe('Ids of the tokens to train, e.g. tokens added for a new format. At least one'),
  target_modules: moduleNames
    .nullable()
    .default(null)
    .describe(
      'Path suffixes of the embedding, or of the embedding and head. Default (null): the embedding',
    ),
  init_weights: z
    .boolean()
    .default(true)
    .describe(
      'true: the rows are initialized to the embeddings of the base model; false: randomly, for tests',
    ),
});
type Options = z.infer<typeof Options>;

const FIELD = 'token_indices';

interface Named {
  readonly path: string;
}

/**
 * Rows that a run trains. @throws DomainError if target_modules matches modules other than the embedding and the head
 */
function rowsOf<L extends Named & { readonly role: Role }, E extends Named>(
  modules: ModuleIndex<L, Named, E>,
  { token_indices: ids, target_modules: targets }: Options,
  rowsIn: (table: E) => number,
): ChosenRows<L, E>[] {
  const table = tableOf(modules, 'peft_type');
  const vocabulary = rowsIn(table);
  if (targets === null) return chosenRows(modules, ids, vocabulary, FIELD);
  const matches = matcher(targets, 'peft.target_modules');
  const all = [...modules.embeddings(), ...modules.linears(), ...modules.norms()];
  const named = all.filter(({ path }) => matches(path)).map(({ path }) => path);
  const known = [table, ...modules.linears(['head'])];
  const other = named.find((path) => !known.some((one) => one.path === path));
  if (named.length > 0 && other === undefined)
    return chosenRows(
      modules,
      Object.fromEntries(named.map((path) => [path, ids])),
      vocabulary,
      FIELD,
    );
  const what = other === undefined ? 'nothing' : other;
  const message = `target_modules matches ${what}; expected a module whose rows are tokens: ${known.map(({ path }) => path).join(', ')}`;
  throw new DomainError('invalid_value', message, 'peft.target_modules');
}

export const trainableTokens = defineMethod<Options>({
  name: 'TRAINABLE_TOKENS',
  title: 'Trainable tokens',
  summary: 'Trains only the embeddings of selected tokens, e.g. of new special tokens.',
  paper: null,
  defaultLearningRate: 1e-2,
  options: Options,
  unsupported: {},
  tensors: { [ROWS_PART]: 'parameter' },
  footprint(outline, options) {
    const rows = rowsOf(outline, options, (table) => table.rows);
    const width = outline.tokenEmbedding?.columns ?? 0;
    return {
      trainableParameters: rows.reduce((sum, { ids }) => sum + ids.length * width, 0),
      virtualTokens: 0,
      ...(rows.length > 1 && outline.tied().length > 0 && { unmerged: SHARED_WEIGHT }),
    };
  },
  attach(model, options, { run, seed }) {
    const { modules } = model;
    const chosen = rowsOf(modules, options, ({ weight }) => weight.shape[0] as number);
    const sets: ModuleParameters[] = [];
    const rows: TokenRows[] = [];
    const detach = (): void => {
      modules.detach(run);
      [...rows, ...sets].forEach((each) => each.dispose());
    };
    for (const one of chosen) {
      const parameters = new ModuleParameters(one.path, seed);
      sets.push(parameters);
      rows.push(new TokenRows(one, run, parameters, !options.init_weights));
    }
    const parameters = new Map(sets.flatMap(({ trained }) => [...trained]));
    // PEFT writes the rows a second time for a head that is tied to the embedding
    const again = chosen.flatMap(({ path, embedding, heads }) =>
      (embedding ? heads : []).map(
        (head) => [`${head.path}.${ROWS_PART}`, `${path}.${ROWS_PART}`] as const,
      ),
    );
    const exported = (): Map<string, Tensor> =>
      new Map([
        ...parameters,
        ...again.map(([name, of]) => [name, parameters.get(of) as Tensor] as const),
      ]);
    const load = (stored: NamedTensors): void => {
      const names = new Set<string>(again.map(([name]) => name));
      restore(parameters, new Map([...stored].filter(([name]) => !names.has(name))));
    };
    const isTied = modules.tied().length > 0 && chosen.length > 1;
    return {
      parameters,
      exported,
      load,
      resolvedConfig: () => ({
        ...options,
        target_modules: options.target_modules ?? modules.tokenEmbedding?.path,
      }),
      // one tied matrix cannot store two different ones
      ...(!isTied && { merged: () => new Map(rows.map((one) => one.merged())) }),
      detach,
    };
  },
});
