import { describe, expect, it } from 'vitest';
import { CreateJob } from './create-job.js';
import { plainWords } from './problem.js';

const body = (peft: object) => ({
  model: 'm',
  training_file: 'file-1',
  peft: { peft_type: 'LORA', ...peft },
});

/** Where and what the first problem is; null if there is none. */
function problem(value: object): string | null {
  const parsed = CreateJob.safeParse(value, { error: plainWords });
  const issue = parsed.error?.issues[0];
  return issue ? `${issue.path.join('.')}: ${issue.message}` : null;
}

describe('a PEFT config in a job', () => {
  it('may be as long as any model needs', () => {
    const paths = Array.from({ length: 500 }, (_, i) => `model.layers.${i}.self_attn.q_proj`);
    expect(problem(body({ target_modules: paths }))).toBeNull();
    expect(problem(body({ prompt_tuning_init_text: 'word '.repeat(1000) }))).toBeNull();
  });

  it.each([
    [
      { target_modules: Array<string>(200_000).fill('x.q_proj') },
      'peft.target_modules: must have at most 1,000 entries, got 200,000',
    ],
    [
      { target_modules: ['q_proj', 'v'.repeat(5000)] },
      'peft.target_modules: entry 2 must have at most 200 characters, got 5,000',
    ],
    [
      { target_modules: 'q'.repeat(9000) },
      'peft.target_modules: must have at most 8,192 characters, got 9,000',
    ],
    [
      { rank_pattern: Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`a${i}`, 1])) },
      'peft.rank_pattern: must have at most 1,000 entries, got 2,000',
    ],
    [
      { rank_pattern: { ['q'.repeat(300)]: 1 } },
      'peft.rank_pattern: names in it must have at most 200 characters, got 300',
    ],
    [{ ['q'.repeat(300)]: 1 }, 'peft: names in it must have at most 200 characters, got 300'],
    [
      { a: 'x'.repeat(8000), b: Array<string>(400).fill('y'.repeat(150)) },
      'peft: must have at most 60,000 characters as JSON, got 69,233',
    ],
  ])('is refused beyond that, by name: case %#', (peft, message) => {
    expect(problem(body(peft))).toBe(message);
  });
});
