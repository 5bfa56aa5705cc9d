// Multipart uploads, as the API returns them.
import { z } from 'zod';
import { FileObject } from './file-objects.js';

export const UploadObject = z
  .object({
    object: z.literal('upload'),
    id: z.string(),
    bytes: z.number().describe('Size of the whole file in bytes.'),
    created_at: z.number(),
    expires_at: z.number(),
    filename: z.string(),
    purpose: z.string(),
    status: z.enum(['pending', 'completed', 'cancelled', 'expired']),
    file: FileObject.nullable(),
    graft: z.object({
      parts: z
        .array(z.object({ id: z.string(), bytes: z.number(), sha256: z.string() }))
        .readonly()
        .describe(
          'Parts received so far, in order of arrival; empty unless the upload is pending.',
        ),
    }),
  })
  .meta({ id: 'UploadObject' });
export type UploadObject = z.infer<typeof UploadObject>;

export const UploadPartObject = z
  .object({
    object: z.literal('upload.part'),
    id: z.string(),
    created_at: z.number(),
    upload_id: z.string(),
    graft: z.object({ sha256: z.string() }),
  })
  .meta({ id: 'UploadPartObject' });
export type UploadPartObject = z.infer<typeof UploadPartObject>;
