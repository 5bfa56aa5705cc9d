import { DomainError, type AnswerTools } from '@graft/contracts';
import { z } from 'zod';
import { argumentsGrammar, SchemaBudget } from '../catalog/plugins.js';

export const FunctionName = z
  .string()
  .regex(/^[a-zA-Z0-9_-]{1,64}$/, 'expected 1 to 64 letters, digits, _ or -');

const Tool = z.strictObject({
  type: z.literal('function', 'only tools of type function are supported'),
  function: z.strictObject({
    name: FunctionName,
    description: z.string().optional(),
    parameters: z
      .record(z.string(), z.unknown())
      .optional()
      .describe('JSON Schema of an object. Default: no arguments'),
    strict: z
      .boolean()
      .nullish()
      .describe('Ignored: arguments follow `parameters` whenever a call is required'),
  }),
});

const isNew = (tools: readonly z.infer<typeof Tool>[]): boolean =>
  new Set(tools.map((tool) => tool.function.name)).size === tools.length;

const named = z.strictObject({
  type: z.literal('function'),
  function: z.strictObject({ name: FunctionName }),
});

export const toolFields = {
  tools: z.array(Tool).max(128).refine(isNew, 'expected unique names').nullish(),
  tool_choice: z
    .union([z.enum(['none', 'auto', 'required']), named])
    .nullish()
    .describe('none: the tools are not shown to the model'),
  parallel_tool_calls: z.boolean().nullish().describe('false: at most one call is returned'),
};

/** A tool call earlier in the conversation. */
export const ToolCallOfMessage = z.strictObject({
  id: z.string().min(1).max(200),
  type: z.literal('function'),
  function: z.strictObject({ name: z.string().min(1).max(200), arguments: z.string() }),
});

type ToolFields = z.infer<z.ZodObject<typeof toolFields>> & { readonly response_format?: unknown };

/** Names of an endpoint's fields in errors. */
export interface ToolFieldNames {
  readonly format: string;
  readonly wanted: string;
  /** Path from a tool to its schema. */
  readonly parameters: string;
}

const IN_CHAT: ToolFieldNames = {
  format: 'response_format',
  wanted: 'tool_choice.function.name',
  parameters: 'function.parameters',
};

/**
 * Returns the tools of a request, or null if the answer is not allowed to call any.
 * @throws DomainError if options contradict each other or arguments cannot be constrained to their schema
 */
export function toolsOf(
  { tools, tool_choice: requested, response_format: format }: ToolFields,
  names: ToolFieldNames = IN_CHAT,
): AnswerTools | null {
  const reject = (param: string, why: string, code: 'invalid_value' | 'unsupported'): never => {
    throw new DomainError(code, `${param}: ${why}`, param);
  };
  const choice = requested ?? 'auto';
  if (!tools || tools.length === 0) {
    if (choice !== 'none' && choice !== 'auto') reject('tool_choice', 'requires tools', 'invalid_value'); // prettier-ignore
    return null;
  }
  if (choice === 'none') return null;
  const isHeld = (format as { type?: string } | null | undefined)?.type ?? 'text';
  if (isHeld !== 'text') reject(names.format, 'is not supported together with tools; omit one of the two', 'unsupported'); // prettier-ignore
  const wanted = typeof choice === 'string' ? null : choice.function.name;
  if (wanted !== null && !tools.some((tool) => tool.function.name === wanted))
    reject(names.wanted, `tools has no function named ${wanted}`, 'invalid_value');
  const plain = tools.map(({ type, function: { strict: _, ...rest } }) => ({
    type,
    function: rest,
  }));
  const budget = new SchemaBudget();
  for (const [i, { function: one }] of tools.entries()) {
    if (!one.parameters) continue;
    const path = `tools.${i}.${names.parameters}`;
    const isHeld = choice !== 'auto' && (wanted === null || one.name === wanted);
    if (isHeld) argumentsGrammar(one.parameters, path, budget);
    else budget.takeSchema(one.parameters, path);
  }
  if (choice === 'auto') return { tools: plain as AnswerTools['tools'], choice };
  return {
    tools: plain as AnswerTools['tools'],
    choice: wanted === null ? 'required' : { name: wanted },
  };
}
