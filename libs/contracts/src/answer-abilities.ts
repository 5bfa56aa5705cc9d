/**
 * What answers may ask for that not every worker's build knows, oldest first: a build that knows one knows those before it,
 * too. Workers say them among the tasks of their Hello, and an answer is given to none that lacks the newest it needs. API
 * processes say them in their rows, as they hand on what they know alone: nor is it given to a worker whose stream ends at
 * one that lacks it.
 */
export const ANSWER_ABILITIES = [
  'answer:logprobs',
  'answer:response_format',
  'answer:tools',
  'answer:transcription',
  'answer:media',
] as const;
export type AnswerAbility = (typeof ANSWER_ABILITIES)[number];

/** The newest of those that are needed; null: any worker will do. */
export const newestAbility = (needed: readonly AnswerAbility[]): AnswerAbility | null =>
  ANSWER_ABILITIES.findLast((one) => needed.includes(one)) ?? null;
