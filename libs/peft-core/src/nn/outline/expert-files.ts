/** Experts in files: a matrix for each expert, where a model has one tensor for all experts. */
import { DomainError } from '@graft/contracts';
import { cat, contiguous, narrow, select, stack, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { ExpertsShape } from '../layers/experts.js';
import type { Stored } from './stored-names.js';

/** Tensor of a file, and the part of the model's tensor that it holds. */
interface Place {
  readonly file: string;
  /** Name of the whole tensor in the model. */
  readonly whole: string;
  /** Shape of the tensor in the file. */
  readonly shape: readonly number[];
  cut(whole: Tensor): Tensor;
}

/** Returns the router's tensor, then those of each expert: gate, up, down. */
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

/** Returns the file tensors of each router and expert parameter, by the parameter's name. */
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
 * Returns an error if bitsandbytes quantized the tensor of a router or expert, else null. An 8-bit tensor has
 * the same shape, and its values would be misread.
 */
export function packedRefusal(stored: Stored, name: string): DomainError | null {
  const { dtype } = stored.get(name) ?? {};
  // a 4-bit tensor may have any dtype, but the file also has the scales of its blocks
  const isPacked = dtype === 'u8' || dtype === 'i8' || stored.has(`${name}.absmax`);
  if (!isPacked) return null;
  const message = `experts quantized by bitsandbytes are not supported (${name}); import the original weights`;
  return new DomainError('invalid_model', message, 'model');
}

/** Joins parts, in the order of `partsOf`, into one tensor of the model. */
export function joined(shape: ExpertsShape, whole: string, parts: readonly Tensor[]): Tensor {
  if (whole === shape.router) return parts[0] as Tensor;
  if (whole === shape.down) return stack(parts);
  const pairs = Array.from({ length: parts.length / 2 }, (_, i) =>
    cat(parts.slice(2 * i, 2 * i + 2)),
  );
  return stack(pairs);
}
