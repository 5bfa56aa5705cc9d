// Models, as the API returns them.
import { z } from 'zod';
import { MODEL_OPERATIONS, OperationObject } from '../jobs/adapter-operation.js';

export const ModelUse = z.enum(['chat', 'embed', 'classify', 'transcribe']).meta({
  id: 'ModelUse',
  description:
    'Endpoint that serves a model: `POST /chat/completions`, `POST /embeddings`, `POST /classify` or `POST /audio/transcriptions`.',
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
          .describe('Kind of model; `export` is a download for other programs.'),
        family: z
          .string()
          .nullable()
          .describe('Model family of a base, such as `llama`; null while it is being imported.'),
        base: z.string().nullable().describe('Base model of an adapter'),
        job: z.string().nullable().describe('Job that made the model'),
        task: z.string().nullable().describe('Task of the job.'),
        step: z
          .number()
          .nullable()
          .describe(
            'Training step whose weights the model holds; null if it was not trained here.',
          ),
        operation: OperationObject.nullable().describe(
          'Operation on adapters that produced the model; null for base models and trained models.',
        ),
        uses: z
          .array(ModelUse)
          .readonly()
          .describe('Endpoints that serve the model; empty while it is being imported.'),
        operations: z.exactOptional(
          z
            .array(z.enum(MODEL_OPERATIONS))
            .readonly()
            .describe(
              'Operations that `POST /adapters/operations` supports for the model, with exports by format. Absent in lists.',
            ),
        ),
        lora_rank: z
          .exactOptional(z.number().nullable())
          .describe('Highest rank of the LoRA; null if the model is not a LoRA. Absent in lists.'),
        status: z.enum(['importing', 'ready', 'error']).describe('State of the import'),
        status_details: z.string().nullable().describe('Reason why the import failed'),
        progress: z
          .number()
          .nullable()
          .describe('Progress of the import, from 0 to 1; null at other times.'),
        parameters: z.number().nullable().describe('Number of parameters'),
        bytes: z.number().describe('Size of the files in bytes'),
        source: z
          .string()
          .nullable()
          .describe('Source of an imported model, such as `hub:OWNER/NAME`'),
        files: z
          .array(z.object({ name: z.string(), size: z.number(), sha256: z.string() }))
          .readonly()
          .describe('Files of the model'),
      }),
    ),
  })
  .meta({ id: 'ModelObject' });
export type ModelObject = z.infer<typeof ModelObject>;
