// A push to the hub as the audit log has it: to a server of the hub's paths that takes HUB_TOKEN.
import type { Change } from './eval-changes.js';

export const HUB_TOKEN = 'hf_token';

export const hubChanges = (
  adapter: () => Promise<string>,
  project: string,
): Readonly<Record<string, () => Promise<Change>>> => ({
  'post /v1/models/{id}/push': async () => {
    const target = await adapter();
    const body = { repo: 'someone/tuned', token: HUB_TOKEN };
    return { path: `/v1/models/${target}/push`, body, type: 'model.pushed', target, project };
  },
});
