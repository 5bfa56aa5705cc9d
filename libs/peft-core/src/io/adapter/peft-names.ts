// Names of an adapter's tensors in files of Hugging Face PEFT. In Graft a tensor is called `<module
// path>.<part>`; a method's `tensors` lists its parts and how PEFT stores each. The names in files are
//   base_model.model.<path>.lora_A.weight           entries of a ModuleDict have `.weight`
//   base_model.model.<path>.lora_B.bias             a bias of such an entry is a part, `<path>.lora_B.bias`
//   base_model.model.<path>.lora_magnitude_vector   entries of a ParameterDict do not have `.weight`
//   base_model.<part>                               shared by all modules; RandLoRA also stores it at each target
//   base_model.<part>.<path>.weight                 modules next to the model
//   base_model.model.<path>.weight                  modules_to_save, biases of modules that are not targeted
//   base_model.model.layer_weights                  a parameter of the head in no module; PEFT reads but never writes it
//   base_model.model.<path>.base_layer.bias         biases of targeted modules
//   prompt_embeddings                               prompt learning,
//   base_model.<path>.weight                        and the head that is trained with it
// A model without a head (AutoModel) is the attribute `model` (`transformer`, `bert`, …) of one with a head,
// and its paths start after that name. So do those of the encoder of a model that has only an encoder and a
// head.
import { DomainError } from '@graft/contracts';
import type { PartKind } from '../../methods/method.js';
import {
  LAYER_WEIGHTS,
  pathWith,
  pathWithout,
  type MissingPrefix,
} from '../../nn/outline/model-paths.js';

const PREFIX = 'base_model.model.';
const SHARED = 'base_model.';
/** Parameters of base modules that a run may train directly. */
const OWN: ReadonlySet<string> = new Set(['weight', 'bias']);

/** A method's parts by name. A name may contain dots (`glora_A.Xd`) or match many parts (`tinylora_v.*`). */
export type Parts = Readonly<Record<string, PartKind>>;

function kindOf(parts: Parts, name: string): PartKind | undefined {
  if (Object.hasOwn(parts, name)) return parts[name];
  const many = name.replace(/\.[^.]+$/, '.*');
  return Object.hasOwn(parts, many) ? parts[many] : undefined;
}

interface Written {
  /** Path prefix that the file does not have. */
  readonly lacking?: MissingPrefix | null;
  /** Targeted modules, in addition to those that have parts. */
  readonly adapted?: readonly string[];
}

/** Returns the names in the file by Graft's names. */
export function namesOnDisk(
  names: readonly string[],
  parts: Parts,
  { lacking = null, adapted = [] }: Written = {},
): ReadonlyMap<string, string> {
  const own = names.flatMap((name) => {
    const [path, part] = divide(name, parts);
    return kindOf(parts, part) ? [path] : [];
  });
  const targeted = new Set([...own, ...adapted]);
  return new Map(
    names.map((name) => {
      const inFile = lacking ? pathWithout(name, lacking) : name;
      const [path, part] = divide(name, parts);
      const kind = kindOf(parts, part);
      if (kind === 'prompt') return [name, name];
      if (isPrompt(parts)) return [name, SHARED + inFile];
      if ((kind === 'shared' && path === '') || isBeside(parts, name)) return [name, SHARED + name];
      if (kind === 'module') return [name, `${PREFIX}${inFile}.weight`];
      if (OWN.has(part) && targeted.has(path))
        return [name, `${PREFIX}${divide(inFile, parts)[0]}.base_layer.${part}`];
      return [name, PREFIX + inFile];
    }),
  );
}

/**
 * Returns Graft's names by the names in the file of a method with these parts.
 * @param lacking path prefix that the file does not have
 * @throws DomainError `invalid_adapter` for a tensor that the method does not have
 */
export function namesInside(
  names: readonly string[],
  parts: Parts,
  lacking: MissingPrefix | null = null,
): ReadonlyMap<string, string> {
  const inside = new Map<string, string>();
  const seen = new Map<string, string>();
  for (const name of names) {
    const own = inner(lacking ? withPrefix(name, lacking) : name, parts);
    if (own === null) {
      throw new DomainError(
        'invalid_adapter',
        `the adapter has an unknown tensor: ${JSON.stringify(name)}`,
      );
    }
    const other = seen.get(own);
    if (other !== undefined) {
      throw new DomainError(
        'invalid_adapter',
        `the adapter's tensors "${other}" and "${name}" are the same parameter`,
      );
    }
    seen.set(own, name);
    inside.set(name, own);
  }
  return inside;
}

/** Adds the prefix unless it is present: some adapters of a model with a head have this task type. */
const withPrefix = (name: string, lacking: MissingPrefix): string =>
  name.startsWith(PREFIX) ? PREFIX + pathWith(name.slice(PREFIX.length), lacking) : name;

function inner(name: string, parts: Parts): string | null {
  if (kindOf(parts, name) === 'prompt') return name;
  const shared = name.startsWith(SHARED) ? name.slice(SHARED.length) : '';
  if (kindOf(parts, shared) === 'shared' || isBeside(parts, shared)) return shared;
  if (isPrompt(parts))
    return OWN.has(divide(shared, parts)[1]) && divide(shared, parts)[0] !== '' ? shared : null;
  if (!name.startsWith(PREFIX)) return null;
  const rest = name.slice(PREFIX.length);
  if (rest === LAYER_WEIGHTS) return rest;
  const [path, part] = divide(rest, parts);
  const kind = kindOf(parts, part);
  if (kind !== undefined) return kind !== 'module' && path !== '' ? rest : null;
  if (!OWN.has(part) || path === '') return null;
  const [module, last] = divide(path, parts);
  if (kindOf(parts, last) === 'module') return part === 'weight' ? path : null;
  if (last === 'base_layer') return `${module}.${part}`;
  return rest;
}

/** Whether a name in a file shows that its paths do not have the prefix. */
export const lacksPrefix = (name: string, { before }: MissingPrefix): boolean =>
  name.startsWith(PREFIX + before);

const isBeside = (parts: Parts, name: string): boolean =>
  Object.keys(parts).some((part) => parts[part] === 'beside' && name.startsWith(`${part}.`));

/**
 * Whether it is prompt learning, which wraps the model itself: paths of its head have no second `model.` in
 * front.
 */
const isPrompt = (parts: Parts): boolean => Object.values(parts).includes('prompt');

/** 'a.b.c' → ['a.b', 'c'], or ['a', 'b.c'] if 'b.c' is a part. */
function divide(name: string, parts: Parts): [path: string, last: string] {
  const cut = (dot: number): [string, string] => [
    name.slice(0, Math.max(0, dot)),
    name.slice(dot + 1),
  ];
  const last = name.lastIndexOf('.');
  for (let dot = last; dot > 0;) {
    dot = name.lastIndexOf('.', dot - 1);
    if (kindOf(parts, name.slice(dot + 1))) return cut(dot);
  }
  return cut(last);
}
