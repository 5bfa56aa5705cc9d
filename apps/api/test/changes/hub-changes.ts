// A push to the hub for the audit log, to a server with the hub's paths that accepts HUB_TOKEN.
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
