import { z } from 'zod';

const Name = z.string().trim().min(1).max(128);

/** Common settings. A request replaces all settings: omitted ones, such as the key, are not kept. */
const common = {
  url: z.string().min(1).max(2000),
  every_job: z.boolean().default(false).describe('Also send jobs that name no integrations'),
};

export const SET_INTEGRATION = {
  wandb: z.strictObject({
    ...common,
    url: common.url.default('https://api.wandb.ai').describe('Address of the W&B server'),
    api_key: z.string().trim().min(1).max(1000).describe('W&B API key'),
    project: Name.default('graft').describe(
      'Default W&B project, for jobs that do not specify one',
    ),
    entity: Name.optional().describe('W&B team or user; default: that of the API key'),
  }),
  mlflow: z.strictObject({
    ...common,
    url: common.url.describe('Address of the MLflow tracking server'),
    username: z.string().min(1).max(200).optional(),
    api_key: z
      .string()
      .trim()
      .min(1)
      .max(4000)
      .optional()
      .describe('Password of `username`; without `username`, a bearer token'),
    project: Name.default('graft').describe(
      'Default MLflow experiment, for jobs that do not specify one',
    ),
  }),
};

/** Union of both, for the OpenAPI document. */
export const SetIntegration = z.union([SET_INTEGRATION.wandb, SET_INTEGRATION.mlflow]);
