// Hugging Face PEFT's names on disk. Inside Graft an adapter's tensors are called `<module path>.lora_A`,
// `<module path>.weight` and so on, or `prompt_embeddings`; in the file they are
//   base_model.model.<path>.lora_A.weight           entries of a ModuleDict keep `.weight`
//   base_model.model.<path>.lora_magnitude_vector   entries of a ParameterDict do not
//   base_model.model.<path>.weight                  modules_to_save, biases of modules that are not targeted
//   base_model.model.<path>.base_layer.bias         biases of targeted modules
//   prompt_embeddings                               prompt learning
import { DomainError } from '@graft/contracts';

const PREFIX = 'base_model.model.';
const WHOLE = 'prompt_embeddings';

/** Parts that PEFT keeps in a ModuleDict. */
const WITH_WEIGHT: ReadonlySet<string> = new Set(['lora_A', 'lora_B']);
/** Parts that it keeps in a ParameterDict. */
const WITHOUT_WEIGHT: ReadonlySet<string> = new Set([
  'lora_magnitude_vector',
  'lora_embedding_A',
  'lora_embedding_B',
]);
const OWN: ReadonlySet<string> = new Set(['weight', 'bias']);

/** Modules that carry an adapter, by the tensors' names inside Graft. */
function targeted(names: Iterable<string>): ReadonlySet<string> {
  const found = new Set<string>();
  for (const name of names) {
    const [path, part] = divide(name);
    if (!OWN.has(part)) found.add(path);
  }
  return found;
}

/** Names in the file, by the names inside Graft. */
export function namesOnDisk(names: readonly string[]): ReadonlyMap<string, string> {
  const carriers = targeted(names);
  return new Map(
    names.map((name) => {
      const [path, part] = divide(name);
      if (name === WHOLE) return [name, name];
      if (WITH_WEIGHT.has(part)) return [name, `${PREFIX}${name}.weight`];
      if (OWN.has(part) && carriers.has(path)) return [name, `${PREFIX}${path}.base_layer.${part}`];
      return [name, PREFIX + name];
    }),
  );
}

/**
 * Names inside Graft, by the names in a file.
 * @throws DomainError `invalid_adapter` naming a tensor that no supported method has.
 */
export function namesInside(names: readonly string[]): ReadonlyMap<string, string> {
  const inside = new Map<string, string>();
  const seen = new Map<string, string>();
  for (const name of names) {
    const own = inner(name);
    if (own === null) {
      throw new DomainError(
        'invalid_adapter',
        `the adapter has a tensor Graft does not know: ${JSON.stringify(name)}`,
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

function inner(name: string): string | null {
  if (name === WHOLE) return name;
  if (!name.startsWith(PREFIX)) return null;
  const rest = name.slice(PREFIX.length);
  const [path, part] = divide(rest);
  if (WITHOUT_WEIGHT.has(part)) return rest;
  if (!OWN.has(part) || path === '') return null;
  const [module, last] = divide(path);
  if (WITH_WEIGHT.has(last)) return part === 'weight' ? path : null;
  if (last === 'base_layer') return `${module}.${part}`;
  return rest;
}

/** 'a.b.c' → ['a.b', 'c'] */
function divide(name: string): [path: string, last: string] {
  const dot = name.lastIndexOf('.');
  return [name.slice(0, Math.max(0, dot)), name.slice(dot + 1)];
}
