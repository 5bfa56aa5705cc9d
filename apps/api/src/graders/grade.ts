/** OpenAI's error flags. */
export interface GradeErrors {
  readonly formula_parse_error: boolean;
  readonly invalid_variable_error: boolean;
  readonly model_grader_parse_error: boolean;
  readonly model_grader_refusal_error: boolean;
  readonly model_grader_server_error: boolean;
  readonly model_grader_server_error_details: string | null;
  readonly other_error: boolean;
  readonly python_grader_runtime_error: boolean;
  readonly python_grader_runtime_error_details: string | null;
  readonly python_grader_server_error: boolean;
  readonly python_grader_server_error_type: string | null;
  readonly sample_parse_error: boolean;
  /** Field of Graft's own. */
  readonly sample_parse_error_details: string | null;
  readonly truncated_observation_error: boolean;
  readonly unresponsive_reward_error: boolean;
}

export const NO_ERRORS: GradeErrors = {
  formula_parse_error: false,
  invalid_variable_error: false,
  model_grader_parse_error: false,
  model_grader_refusal_error: false,
  model_grader_server_error: false,
  model_grader_server_error_details: null,
  other_error: false,
  python_grader_runtime_error: false,
  python_grader_runtime_error_details: null,
  python_grader_server_error: false,
  python_grader_server_error_type: null,
  sample_parse_error: false,
  sample_parse_error_details: null,
  truncated_observation_error: false,
  unresponsive_reward_error: false,
};

export interface Tokens {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** Result of a grader for a sample. */
export interface Grade {
  /** Score; 0 if there are errors. */
  readonly score: number;
  readonly errors: Partial<GradeErrors>;
  /** Response of the grading model and the model's id; `null` if no model was used. */
  readonly modelAnswer: { readonly model: string; readonly text: string } | null;
  readonly label: string | null;
  /** Tokens of grading models, by model. */
  readonly usage: Readonly<Record<string, Tokens>>;
  /** Results of the graders of a multi grader, by name. */
  readonly parts: Readonly<Record<string, Grade>>;
}

export const graded = (score: number, more: Partial<Grade> = {}): Grade => ({
  score,
  errors: {},
  modelAnswer: null,
  label: null,
  usage: {},
  parts: {},
  ...more,
});

export function addUsage(
  a: Readonly<Record<string, Tokens>>,
  b: Readonly<Record<string, Tokens>>,
): Record<string, Tokens> {
  const sum: Record<string, Tokens> = { ...a };
  for (const [model, more] of Object.entries(b)) {
    const before = sum[model];
    sum[model] = before
      ? {
          prompt_tokens: before.prompt_tokens + more.prompt_tokens,
          completion_tokens: before.completion_tokens + more.completion_tokens,
          total_tokens: before.total_tokens + more.total_tokens,
        }
      : more;
  }
  return sum;
}
