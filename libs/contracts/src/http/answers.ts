// Responses that are not stored objects: errors, and OpenAI's completions, embeddings, grades and transcripts.
import { z } from 'zod';

export const ErrorObject = z
  .object({
    error: z.object({
      message: z.string().describe('Message that names the field or line and says what to do'),
      type: z.string(),
      param: z
        .string()
        .nullable()
        .describe('Full path of the field, such as peft.r; null if no field is at fault'),
      code: z.string().nullable(),
      columns: z
        .array(z.string())
        .readonly()
        .exactOptional()
        .describe('Columns of a rejected table whose roles are ambiguous'),
      suggested_columns: z
        .record(z.string(), z.string())
        .readonly()
        .exactOptional()
        .describe('Suggested column of such a table for each field of a record'),
    }),
  })
  .meta({ id: 'Error', description: 'Error in OpenAI’s format.' });

const usage = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
});
const finish = z.enum(['stop', 'length', 'tool_calls']);
const call = z.object({
  id: z.string(),
  type: z.literal('function'),
  function: z.object({
    name: z.string(),
    arguments: z.string().describe('Arguments as a JSON object'),
  }),
});
const head = { id: z.string(), created: z.int(), model: z.string() };
const token = z.object({
  token: z.string(),
  logprob: z
    .number()
    .describe('Natural logarithm of the probability, before temperature and top_p; at least -9999'),
  bytes: z.array(z.int()).nullable(),
});
const chatLogprobs = z
  .object({
    content: z
      .array(token.extend({ top_logprobs: z.array(token) }))
      .describe('Log probabilities of the tokens of the text, in order'),
    refusal: z.null(),
  })
  .nullable();
const textLogprobs = z
  .object({
    tokens: z.array(z.string()),
    token_logprobs: z.array(z.number()),
    top_logprobs: z
      .array(z.record(z.string(), z.number()))
      .describe('Log probabilities of the most likely tokens and of the sampled one, by token'),
    text_offset: z
      .array(z.int())
      .describe('Offset of each token in the text, in UTF-16 code units'),
  })
  .nullable();
const choice = { index: z.int(), finish_reason: finish };
/** Choice of a streamed chunk. Only the last chunk has a finish reason. */
const chunk = { ...choice, finish_reason: finish.nullable() };

export const ChatCompletionObject = z
  .object({
    ...head,
    object: z.literal('chat.completion'),
    choices: z.array(
      z.object({
        ...choice,
        logprobs: chatLogprobs,
        message: z.object({
          role: z.literal('assistant'),
          content: z
            .string()
            .nullable()
            .describe('Text of the message; null if there are only tool calls'),
          refusal: z.null().exactOptional(),
          tool_calls: z.array(call).exactOptional(),
        }),
      }),
    ),
    usage,
  })
  .meta({ id: 'ChatCompletion' });

export const ChatCompletionChunkObject = z
  .object({
    ...head,
    object: z.literal('chat.completion.chunk'),
    choices: z.array(
      z.object({
        ...chunk,
        logprobs: chatLogprobs,
        delta: z.object({
          role: z.literal('assistant').exactOptional(),
          content: z.string().exactOptional(),
          tool_calls: z.array(call.extend({ index: z.int() })).exactOptional(),
        }),
      }),
    ),
    usage: usage.nullable().exactOptional(),
  })
  .meta({ id: 'ChatCompletionChunk' });

export const CompletionObject = z
  .object({
    ...head,
    object: z.literal('text_completion'),
    choices: z.array(z.object({ ...choice, text: z.string(), logprobs: textLogprobs })),
    usage,
  })
  .meta({ id: 'Completion' });

export const CompletionChunkObject = z
  .object({
    ...head,
    object: z.literal('text_completion'),
    choices: z.array(z.object({ ...chunk, text: z.string(), logprobs: textLogprobs })),
    usage: usage.nullable().exactOptional(),
  })
  .meta({ id: 'CompletionChunk' });

export const EmbeddingsObject = z
  .object({
    object: z.literal('list'),
    data: z.array(
      z.object({
        object: z.literal('embedding'),
        index: z.int(),
        embedding: z.union([
          z.array(z.number()),
          z.string().describe('Base64 of little-endian f32 values, for `encoding_format` "base64"'),
        ]),
      }),
    ),
    model: z.string(),
    usage: z.object({ prompt_tokens: z.int(), total_tokens: z.int() }),
  })
  .meta({ id: 'Embeddings' });

export const ClassificationObject = z
  .object({
    id: z.string(),
    object: z.literal('list'),
    created: z.int(),
    model: z.string(),
    data: z
      .array(z.looseObject({ index: z.int() }))
      .describe(
        'Results per input. Single label: label, probabilities by label, probs, num_classes; multiple labels: labels; regression: value; token classification: tags; question answering: answer, score, start, end.',
      ),
    usage,
  })
  .meta({
    id: 'Classification',
    description: 'Classification in vLLM’s format, with additional fields per task.',
  });

const json = z.record(z.string(), z.unknown());

export const GradeObject = z
  .object({
    reward: z.number(),
    metadata: json,
    model_grader_token_usage_per_model: json,
    sub_rewards: z.record(z.string(), z.number()),
  })
  .meta({ id: 'Grade' });

export const ReadyObject = z
  .object({
    process: z
      .enum(['starting', 'ok', 'stopping'])
      .describe('State of the process; starting: it has not written its credentials yet'),
    database: z.enum(['ok', 'down']),
    queue: z.enum(['ok', 'down']),
    notifications: z.enum(['ok', 'down']),
    storage: z
      .enum(['ok', 'down'])
      .describe('State of the blob storage; down does not make the process unready'),
  })
  .meta({ id: 'Ready' });
export type ReadyObject = z.infer<typeof ReadyObject>;

const TokenUsage = z
  .object({
    type: z.literal('tokens'),
    input_tokens: z.int().describe('Encoder frames of the audio'),
    output_tokens: z.int(),
    total_tokens: z.int(),
  })
  .meta({ id: 'TranscriptionUsage' });

export const TranscriptionObject = z
  .object({ text: z.string(), usage: TokenUsage })
  .meta({ id: 'Transcription' });
export type TranscriptionObject = z.infer<typeof TranscriptionObject>;

export const TranscriptionSegment = z
  .object({
    id: z.int(),
    seek: z.int().describe('Start of the window, in hundredths of a second'),
    start: z.number().describe('Start in seconds'),
    end: z.number().describe('End in seconds'),
    text: z.string(),
    tokens: z.array(z.int()),
    temperature: z.number(),
    avg_logprob: z.number().describe('Mean log probability of the tokens of the window'),
    compression_ratio: z
      .number()
      .describe('Ratio of the size of the text to its size compressed with zlib'),
    no_speech_prob: z
      .number()
      .nullable()
      .describe(
        'Probability that the window has no speech; null if the base model has no token for it',
      ),
  })
  .meta({ id: 'TranscriptionSegment' });
export type TranscriptionSegment = z.infer<typeof TranscriptionSegment>;

export const TranscriptionVerboseObject = z
  .object({
    task: z.literal('transcribe'),
    language: z
      .string()
      .nullable()
      .describe('Language that was requested, trained with or detected; null if unknown'),
    duration: z.number().describe('Duration of the audio in seconds'),
    text: z.string(),
    segments: z.array(TranscriptionSegment),
    usage: z.object({ type: z.literal('duration'), seconds: z.int() }),
  })
  .meta({ id: 'TranscriptionVerbose' });
export type TranscriptionVerboseObject = z.infer<typeof TranscriptionVerboseObject>;

/** Transcription for `response_format` `json` or `verbose_json`. */
export const TranscriptionAnswer = z
  .union([TranscriptionObject, TranscriptionVerboseObject])
  .meta({ id: 'TranscriptionAnswer' });

export const TranscriptionEvent = z
  .discriminatedUnion('type', [
    z.object({ type: z.literal('transcript.text.delta'), delta: z.string() }),
    z.object({ type: z.literal('transcript.text.done'), text: z.string(), usage: TokenUsage }),
  ])
  .meta({ id: 'TranscriptionEvent' });
export type TranscriptionEvent = z.infer<typeof TranscriptionEvent>;
