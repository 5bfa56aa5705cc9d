// What is answered besides objects that are kept: OpenAI's texts, vectors, grades and evals, and errors.
import { z } from 'zod';

export const ErrorObject = z
  .object({
    error: z.object({
      message: z.string().describe('A sentence for people, that names the field or the line'),
      type: z.string(),
      param: z.string().nullable().describe('The whole path of the field'),
      code: z.string().nullable(),
      columns: z
        .array(z.string())
        .readonly()
        .exactOptional()
        .describe('Of a table that was refused because nobody can tell which is what'),
      suggested_columns: z
        .record(z.string(), z.string())
        .readonly()
        .exactOptional()
        .describe('Of such a table: columns that may be meant, by the fields of a record'),
    }),
  })
  .meta({ id: 'Error', description: 'The one shape of all errors, which is OpenAI’s.' });

const usage = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
});
const finish = z.enum(['stop', 'length', 'tool_calls']);
const call = z.object({
  id: z.string(),
  type: z.literal('function'),
  function: z.object({ name: z.string(), arguments: z.string().describe('A JSON object') }),
});
const head = { id: z.string(), created: z.int(), model: z.string() };
const token = z.object({
  token: z.string(),
  logprob: z.number().describe('ln p, before temperature and top_p; -9999 where it is less'),
  bytes: z.array(z.int()).nullable(),
});
const chatLogprobs = z
  .object({
    content: z
      .array(token.extend({ top_logprobs: z.array(token) }))
      .describe('Of the tokens of the text, in order'),
    refusal: z.null(),
  })
  .nullable();
const textLogprobs = z
  .object({
    tokens: z.array(z.string()),
    token_logprobs: z.array(z.number()),
    top_logprobs: z
      .array(z.record(z.string(), z.number()))
      .describe('Of the likeliest, by token; the one that was chosen is among them'),
    text_offset: z.array(z.int()).describe('UTF-16 units of the text before the token'),
  })
  .nullable();
const choice = { index: z.int(), finish_reason: finish };
/** Of a stream: all but the last have none. */
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
          content: z.string().nullable().describe('null where there are only calls'),
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
          z.string().describe('f32, little-endian, in base64: of `encoding_format` "base64"'),
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
        'By input. Labels of texts: label, probabilities by label, probs, num_classes; several labels: labels; a measure: value; words: tags; questions: answer, score, start, end.',
      ),
    usage,
  })
  .meta({ id: 'Classification', description: 'vLLM’s shape, with what the task gives.' });

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
      .describe('starting: it has not written its credentials yet'),
    database: z.enum(['ok', 'down']),
    queue: z.enum(['ok', 'down']),
    notifications: z.enum(['ok', 'down']),
    storage: z
      .enum(['ok', 'down'])
      .describe('Of the blobs; down does not make the process unready'),
  })
  .meta({ id: 'Ready' });
export type ReadyObject = z.infer<typeof ReadyObject>;

const TokenUsage = z.object({
  type: z.literal('tokens'),
  input_tokens: z.int().describe('Rows that the base made of the sound'),
  output_tokens: z.int(),
  total_tokens: z.int(),
});

export const TranscriptionObject = z
  .object({ text: z.string(), usage: TokenUsage })
  .meta({ id: 'Transcription' });
export type TranscriptionObject = z.infer<typeof TranscriptionObject>;

export const TranscriptionSegment = z
  .object({
    id: z.int(),
    seek: z.int().describe('Hundredths of a second before its window'),
    start: z.number().describe('Seconds'),
    end: z.number(),
    text: z.string(),
    tokens: z.array(z.int()),
    temperature: z.number(),
    avg_logprob: z.number().describe('Of its window'),
    compression_ratio: z.number().describe('Bytes of its text to those that zlib makes of it'),
    no_speech_prob: z.number().nullable().describe('Of its window; null: the base has no token'),
  })
  .meta({ id: 'TranscriptionSegment' });
export type TranscriptionSegment = z.infer<typeof TranscriptionSegment>;

export const TranscriptionVerboseObject = z
  .object({
    task: z.literal('transcribe'),
    language: z.string().nullable().describe('Asked for, trained with or heard; null: not known'),
    duration: z.number().describe('Seconds'),
    text: z.string(),
    segments: z.array(TranscriptionSegment),
    usage: z.object({ type: z.literal('duration'), seconds: z.int() }),
  })
  .meta({ id: 'TranscriptionVerbose' });
export type TranscriptionVerboseObject = z.infer<typeof TranscriptionVerboseObject>;

/** By `response_format`: `json`, `verbose_json`. */
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
