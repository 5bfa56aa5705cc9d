import type { Api } from '../client/api.js';
import { findModel } from '../find/find-model.js';
import type { JobFlags } from './job-body.js';
import type { Body } from './read-body.js';

/** Replaces names in a body by ids: --model may name a job. */
export async function withIds(api: Api, body: Body, { model }: JobFlags): Promise<Body> {
  if (model === undefined || body.model !== model) return body;
  return { ...body, model: await findModel(api, model) };
}
