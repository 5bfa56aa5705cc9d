import { DomainError, MOST_SAMPLED_STEPS, type Spec } from '@graft/contracts';

/** @throws DomainError where a run of so many steps would answer its sample prompts too often */
export function checkSampledSteps(
  { sample_prompts: prompts, eval_steps: every }: Pick<Spec, 'sample_prompts' | 'eval_steps'>,
  steps: number,
): void {
  if (!prompts || every === 0) return;
  // before the first step, then at each evaluation and at the end
  const times = 1 + Math.ceil(steps / every);
  if (times <= MOST_SAMPLED_STEPS) return;
  const least = Math.ceil(steps / (MOST_SAMPLED_STEPS - 1));
  const often = `graft.sample_prompts would be answered ${times} times in ${steps} steps, of at most ${MOST_SAMPLED_STEPS}`;
  throw new DomainError(
    'invalid_value',
    `graft.eval_steps: expected an integer ≥ ${least} or 0, got ${every}: ${often}`,
    'graft.eval_steps',
  );
}
