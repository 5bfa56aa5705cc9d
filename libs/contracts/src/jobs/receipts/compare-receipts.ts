import type { JobReceiptObject, ReceiptComparisonObject } from './job-receipt.js';
import { hashOfJson } from './canonical-json.js';

type Receipt = JobReceiptObject;
type Comparison = ReceiptComparisonObject;
type Part = Comparison['parts'][number];
type Pair = readonly [string | null, string | null];

/** Parts that determine the result on a given trainer. */
const INPUTS: ReadonlySet<Part['part']> = new Set([
  'base',
  'training_data',
  'validation_data',
  'init_adapter',
  'spec',
]);

/** Outcomes of attempts that did not end early. */
const FINISHED: ReadonlySet<string | null> = new Set([null, 'done']);

/** Compares what two jobs were made of and what came out. */
export function compareReceipts(a: Receipt, b: Receipt): Comparison {
  const parts = partsOf(a, b);
  const options = differentOptions(a.spec, b.spec);
  const interruptions = [endedEarly(a), endedEarly(b)] as const;
  const verdict = verdictOf(parts, a.result !== null && b.result !== null);
  return {
    object: 'graft.receipt_comparison',
    jobs: [a.job.id, b.job.id],
    verdict,
    text: textOf(verdict, parts, interruptions),
    parts,
    options,
    files: filesOf(a, b),
    interruptions,
    checkpoints: commonCheckpoints(a, b),
  };
}

function partsOf(a: Receipt, b: Receipt): Part[] {
  const part = (name: Part['part'], of: (one: Receipt) => string | null): Part => {
    const values: Pair = [of(a), of(b)];
    const isKnown = values[0] !== null && values[1] !== null;
    return { part: name, equal: isKnown ? values[0] === values[1] : null, values };
  };
  /** An absent file is equal to another absent one. */
  const optional = (name: Part['part'], of: (one: Receipt) => string | null): Part => {
    const values: Pair = [of(a), of(b)];
    return { part: name, equal: values[0] === values[1], values };
  };
  return [
    part('base', ({ base }) => base.sha256),
    part('training_data', ({ data }) => data.training_sha256),
    optional('validation_data', ({ data }) => data.validation_sha256),
    optional('init_adapter', ({ data: { init_adapter: files } }) =>
      files.length > 0 ? hashOfJson(files) : null,
    ),
    part('spec', ({ spec_sha256: hash }) => hash),
    part('trainer', trainersOf),
    part('weights', ({ result }) => result?.weights_sha256 ?? null),
  ];
}

/** Returns the builds, devices and threads of all attempts that trained; null if none has started. */
function trainersOf({ attempts }: Receipt): string | null {
  const trainers = attempts
    .filter(({ trainer_build: build }) => build !== null)
    .map(({ trainer_build: build, device, threads }) =>
      [build, device, threads === null ? null : `${threads} threads`].filter(Boolean).join(', '),
    );
  return trainers.length === 0 ? null : [...new Set(trainers)].sort().join('; ');
}

function differentOptions(a: Receipt['spec'], b: Receipt['spec']): Comparison['options'][number][] {
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
  return names
    .filter((name) => hashOfJson([a[name]]) !== hashOfJson([b[name]]))
    .map((name) => ({ name, values: [a[name] ?? null, b[name] ?? null] as const }));
}

function filesOf(a: Receipt, b: Receipt): Comparison['files'][number][] {
  const hashes = (one: Receipt) =>
    new Map((one.result?.files ?? []).map(({ name, sha256 }) => [name, sha256]));
  const [ofA, ofB] = [hashes(a), hashes(b)];
  return [...new Set([...ofA.keys(), ...ofB.keys()])].sort().map((name) => {
    const sha256: Pair = [ofA.get(name) ?? null, ofB.get(name) ?? null];
    return { name, equal: sha256[0] === sha256[1], sha256 };
  });
}

function commonCheckpoints(a: Receipt, b: Receipt): Comparison['checkpoints'][number][] {
  const byStep = ({ checkpoints }: Receipt) =>
    new Map(
      checkpoints.flatMap(({ step, weights_sha256: hash }) =>
        hash === null ? [] : [[step, hash] as const],
      ),
    );
  const ofB = byStep(b);
  return [...byStep(a)].flatMap(([step, hash]) => {
    const other = ofB.get(step);
    if (other === undefined) return [];
    return [{ step, equal: hash === other, weights_sha256: [hash, other] as const }];
  });
}

const endedEarly = ({ attempts }: Receipt): number =>
  attempts.filter(({ outcome, trainer_build: build }) => build !== null && !FINISHED.has(outcome))
    .length;

function verdictOf(parts: readonly Part[], areFinished: boolean): Comparison['verdict'] {
  if (parts.some(({ part, equal }) => INPUTS.has(part) && equal === false))
    return 'different_inputs';
  if (!areFinished) return 'unfinished';
  if (unknownIn(parts).length > 0) return 'unknown';
  return haveEqualWeights(parts) ? 'identical' : 'different_result';
}

const haveEqualWeights = (parts: readonly Part[]): boolean =>
  parts.some(({ part, equal }) => part === 'weights' && equal === true);

/** Returns the inputs whose hash is not known for both jobs. */
const unknownIn = (parts: readonly Part[]): readonly Part['part'][] =>
  parts.filter(({ part, equal }) => equal === null && INPUTS.has(part)).map(({ part }) => part);

/** Names of the parts for people. */
export const PART_NAMES: Readonly<Record<Part['part'], string>> = {
  base: 'base model',
  training_data: 'training file',
  validation_data: 'validation file',
  init_adapter: 'starting adapter',
  spec: 'settings',
  trainer: 'trainer',
  weights: 'weights',
};

function textOf(
  verdict: Comparison['verdict'],
  parts: readonly Part[],
  [a, b]: readonly [number, number],
): string {
  const differing = parts.filter(({ equal }) => equal === false).map(({ part }) => part);
  switch (verdict) {
    case 'identical':
      return `Identical: equal inputs, and the weights are equal byte for byte, with ${times(a)} in the first job and ${times(b)} in the second`;
    case 'unfinished':
      return 'A job has no result yet; the inputs are equal';
    case 'different_inputs': {
      const inputs = differing.filter((part) => INPUTS.has(part)).map((part) => PART_NAMES[part]);
      return `The jobs are not comparable: different ${inputs.join(', ')}`;
    }
    case 'unknown': {
      const missing = unknownIn(parts).map((part) => PART_NAMES[part]);
      const weights = haveEqualWeights(parts) ? 'are equal byte for byte' : 'differ';
      return `The comparison is incomplete, because a job has no hash of: ${missing.join(', ')}; the weights ${weights}`;
    }
    case 'different_result':
      return differing.includes('trainer')
        ? 'The inputs are equal, but the weights differ: the jobs ran on different trainers, whose rounding differs'
        : 'The inputs and trainers are equal, but the weights differ';
  }
}

const times = (count: number): string =>
  count === 0 ? 'no interruption' : count === 1 ? '1 interruption' : `${count} interruptions`;
