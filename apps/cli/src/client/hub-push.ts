// A folder to the Hugging Face Hub (or what HF_ENDPOINT names), with the library that Hugging Face keeps for it. The token
// is the person's own (HF_TOKEN), and never goes to Graft.
import { readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CliError } from '../cli-error.js';

export interface HubTarget {
  /** OWNER/NAME. */
  readonly name: string;
  readonly isPrivate: boolean;
  readonly accessToken: string;
}

/** @throws CliError where nothing could be pushed there */
export function hubTarget(
  name: string,
  { private: isPrivate = false }: { readonly private?: boolean },
): HubTarget {
  if (!/^[\w.-]+\/[\w.-]+$/.test(name))
    throw new CliError(`--push-to: expected OWNER/NAME, got ${JSON.stringify(name)}`);
  const accessToken = process.env.HF_TOKEN;
  if (!accessToken)
    throw new CliError(
      'HF_TOKEN is not set: a token of https://huggingface.co/settings/tokens that may write',
    );
  return { name, isPrivate, accessToken };
}

/** In one commit; makes the repository where it is not there. Returns its address. */
export async function pushToHub(
  folder: string,
  { name, isPrivate, accessToken }: HubTarget,
): Promise<string> {
  const hubUrl = (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  const repo = { type: 'model', name } as const;
  // loaded when it is needed: every other command starts without it
  const { createRepo, HubApiError, uploadFiles } = await import('@huggingface/hub');
  try {
    await createRepo({
      repo,
      accessToken,
      hubUrl,
      visibility: isPrivate ? 'private' : 'public',
    }).catch((error: unknown) => {
      if (error instanceof HubApiError && error.statusCode === 409) return; // it is there
      throw error;
    });
    const inside = await readdir(folder, { recursive: true, withFileTypes: true });
    const names = inside
      .filter((entry) => entry.isFile())
      .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
      .sort();
    const files = names.map((path) => ({ path, content: pathToFileURL(join(folder, path)) }));
    const commitTitle = 'Upload from Graft';
    await uploadFiles({ repo, accessToken, hubUrl, files, commitTitle, useXet: false });
  } catch (error) {
    throw new CliError(`cannot push to ${hubUrl}/${name}: ${(error as Error).message}`);
  }
  return `${hubUrl}/${name}`;
}
