/** Models, as the API answers them. */
import { z } from 'zod';
import { MODEL_OPERATIONS, OperationObject } from '../jobs/adapter-operation.js';

export const ModelUse = z.enum(['chat', 'embed', 'classify', 'transcribe']).meta({
  id: 'ModelUse',
  description:
    'By `POST /chat/completions`, `POST /embeddings`, `POST /classify` or `POST /audio/transcriptions`.',
});
export type ModelUse = z.infer<typeof ModelUse>;

export const ModelObject = z
  .object({
    id: z.string(),
    object: z.literal('model'),
    created: z.number(),
    owned_by: z.string(),
    graft: z.exactOptional(
      z.object({
        kind: z
          .enum(['base', 'adapter', 'full', 'export'])
          .describe('`export`: files for other programs, to download.'),
        family: z
          .string()
          .nullable()
          .describe('Model family ("llama") of a base; null while it is being imported.'),
        base: z.string().nullable(),
        job: z.string().nullable(),
        task: z.string().nullable().describe('Task of that job.'),
        step: z
          .number()
          .nullable()
          .describe('Step of that job whose weights it holds; null where it was not trained here.'),
        operation: OperationObject.nullable().describe(
          'What made it of finished adapters; null where none did: a base, or what was trained.',
        ),
        uses: z.array(ModelUse).readonly().describe('Empty while it is being imported.'),
        operations: z.exactOptional(
          z
            .array(z.enum(MODEL_OPERATIONS))
            .readonly()
            .describe(
              'What `POST /adapters/operations` can make of it, exports by their format. Lists leave it out.',
            ),
        ),
        lora_rank: z
          .exactOptional(z.number().nullable())
          .describe('The highest rank of its LoRA; null where it is none. Lists leave it out.'),
        status: z.enum(['importing', 'ready', 'error']),
        status_details: z.string().nullable(),
        progress: z.number().nullable().describe('0..1 while importing.'),
        parameters: z.number().nullable(),
        bytes: z.number(),
        source: z.string().nullable(),
        files: z
          .array(z.object({ name: z.string(), size: z.number(), sha256: z.string() }))
          .readonly(),
      }),
    ),
  })
  .meta({ id: 'ModelObject' });
export type ModelObject = z.infer<typeof ModelObject>;
