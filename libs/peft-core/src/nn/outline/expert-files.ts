/** Experts as files have them: each one's matrices apart, where a model has those of all in one. */
import { DomainError } from '@graft/contracts';
import { cat, contiguous, narrow, select, stack, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { ExpertsShape } from '../layers/experts.js';
import type { Stored } from './stored-names.js';

/** A tensor of a file, and what it is of the model's. */
interface Place {
  readonly file: string;
  /** The model's name of the whole. */
  readonly whole: string;
  /** Of the tensor in the file. */
  readonly shape: readonly number[];
  cut(whole: Tensor): Tensor;
}

/** In the order of experts, and of each its gate before what rises beside it. */
function placesOf({ files, router, gateUp, down, options, shapes }: ExpertsShape): Place[] {
  const { count, size } = options;
  const [, ...falling] = shapes.get(down) as readonly number[];
  const [hidden] = falling as [number];
  const half = (expert: number, at: number) => (whole: Tensor) =>
    tidy(() => contiguous(narrow(select(whole, 0, expert), 0, at * size, size)));
  const of = (pattern: string, expert: number): string =>
    `${pattern.replace('{e}', String(expert))}.weight`;
  const each = Array.from({ length: count }, (_, e): Place[] => [
    { file: of(files.gate, e), whole: gateUp, shape: [size, hidden], cut: half(e, 0) },
    { file: of(files.up, e), whole: gateUp, shape: [size, hidden], cut: half(e, 1) },
    {
      file: of(files.down, e),
      whole: down,
      shape: falling,
      cut: (whole) => tidy(() => contiguous(select(whole, 0, e))),
    },
  ]);
  const routed: Place = {
    file: `${files.router}.weight`,
    whole: router,
    shape: shapes.get(router) as readonly number[],
    cut: (whole) => whole,
  };
  return [routed, ...each.flat()];
}

/** What files call the tensors of routers and experts: with what each is cut of. */
export const partsOf = (shapes: readonly ExpertsShape[]): Map<string, Place[]> =>
  new Map(
    shapes.flatMap((shape) => {
      const places = placesOf(shape);
      return [...shape.shapes.keys()].map((whole): [string, Place[]] => [
        whole,
        places.filter((place) => place.whole === whole),
      ]);
    }),
  );

/**
 * Why a tensor of a router or experts is not taken; null where it is as it was trained. Of bitsandbytes in 8 bits it has its
 * own shape, and would be read as numbers that it does not hold.
 */
export function packedRefusal(stored: Stored, name: string): DomainError | null {
  const { dtype } = stored.get(name) ?? {};
  // in 4 bits it may be stored under any dtype, beside the scales of its blocks
  const isPacked = dtype === 'u8' || dtype === 'i8' || stored.has(`${name}.absmax`);
  if (!isPacked) return null;
  const message = `experts that bitsandbytes packed are not read (${name}); import the original weights`;
  return new DomainError('invalid_model', message, 'model');
}

/** One whole tensor of its parts, in the order of `partsOf`. */
export function joined(shape: ExpertsShape, whole: string, parts: readonly Tensor[]): Tensor {
  if (whole === shape.router) return parts[0] as Tensor;
  if (whole === shape.down) return stack(parts);
  const pairs = Array.from({ length: parts.length / 2 }, (_, i) =>
    cat(parts.slice(2 * i, 2 * i + 2)),
  );
  return stack(pairs);
}
