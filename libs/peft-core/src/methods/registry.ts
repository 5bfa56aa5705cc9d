import {
  DomainError,
  methodCalled,
  NAMED_METHODS,
  nearestNames,
  shorten,
  type NamedMethod,
} from '@graft/contracts';
import { registry } from '../plug-in-registry.js';
import { adaptionPrompt } from './adaption-prompt.js';
import { adalora } from './adalora.js';
import { adamss } from './adamss.js';
import { beft } from './beft.js';
import { boft } from './boft.js';
import { c3a } from './c3a.js';
import { cartridge } from './cartridge.js';
import { cpt } from './cpt.js';
import { deft } from './deft.js';
import { fourierft } from './fourierft.js';
import { frod } from './frod.js';
import { full } from './full.js';
import { glora } from './glora.js';
import { hra } from './hra.js';
import { ia3 } from './ia3.js';
import { lnTuning } from './ln-tuning.js';
import { loha } from './loha.js';
import { lokr } from './lokr.js';
import { lora } from './lora.js';
import type { Method } from './method.js';
import { miss } from './miss.js';
import { multitaskPromptTuning } from './multitask-prompt-tuning.js';
import { oft } from './oft.js';
import { osf } from './osf.js';
import { pTuning } from './p-tuning.js';
import { peanut } from './peanut.js';
import { poly } from './poly.js';
import { prefixTuning } from './prefix-tuning.js';
import { promptTuning } from './prompt-tuning.js';
import { psoft } from './psoft.js';
import { road } from './road.js';
import { tinylora } from './tinylora.js';
import { unilora } from './unilora.js';
import { vblora } from './vblora.js';
import { vera } from './vera.js';
import { trainableTokens } from './trainable-tokens.js';
import { waveft } from './waveft.js';
import { shadow } from './shadow.js';
import { shira } from './shira.js';
import { supertuning } from './supertuning.js';
import { gralora } from './gralora.js';
import { hira } from './hira.js';
import { delora } from './delora.js';
import { pvera } from './pvera.js';
import { randlora } from './randlora.js';
import { xlora } from './xlora.js';

/** All methods. Validation, the catalog, the docs and the test matrix are derived from this list. */
export const methods: readonly Method[] = [
  lora,
  promptTuning,
  pTuning,
  prefixTuning,
  loha,
  lokr,
  miss,
  vera,
  adalora,
  shira,
  supertuning,
  gralora,
  hira,
  delora,
  pvera,
  randlora,
  ia3,
  oft,
  hra,
  c3a,
  road,
  boft,
  beft,
  deft,
  lnTuning,
  trainableTokens,
  psoft,
  peanut,
  glora,
  fourierft,
  waveft,
  vblora,
  tinylora,
  unilora,
  osf,
  frod,
  adamss,
  cartridge,
  cpt,
  multitaskPromptTuning,
  adaptionPrompt,
  poly,
  shadow,
  xlora,
  full,
] as Method[];

/** Default `peft` of a job; its fields are the method's defaults for jobs. */
export const DEFAULT_PEFT = { peft_type: lora.name } as const;

/** Name of the method that `"peft": null` means. */
export const WITHOUT_ADAPTER = full.name;

const byName = registry('method', methods, ({ name }) => [name]);

/** Returns the method of a peft_type. @throws DomainError if the method does not exist */
export function methodFor(peft: { readonly peft_type: string } | null): Method {
  const name = peft?.peft_type ?? WITHOUT_ADAPTER;
  const found = byName.get(name);
  if (found) return found;
  const named = methodCalled(name);
  const why = named
    ? `${named.name} is "peft_type": "${lora.name}" with ${howMade(named)}`
    : alternatives(name);
  throw new DomainError(
    'invalid_value',
    `unknown peft_type "${shorten(name, 200)}"; ${why}`,
    'peft.peft_type',
  );
}

/** Returns the most similar methods and variants, or all methods if none is similar. */
function alternatives(name: string): string {
  const known = [...methods, ...NAMED_METHODS].map((one) => one.name);
  const nearest = nearestNames(
    name,
    known.map((one) => one.toLowerCase()),
  );
  const meant = known.filter((one) => nearest.includes(one.toLowerCase()));
  return meant.length > 0
    ? `did you mean ${meant.join(', ')}?`
    : `supported: ${methods.map((method) => method.name).join(', ')}`;
}

/** Request fields that select a named variant of a method. */
function howMade({ variant, isPacked }: NamedMethod): string {
  const value = JSON.stringify(variant?.value) ?? '…';
  return [
    ...(variant ? [`"${variant.field}": ${value}`] : []),
    ...(isPacked ? ['a graft.quantization'] : []),
  ].join(' and ');
}
