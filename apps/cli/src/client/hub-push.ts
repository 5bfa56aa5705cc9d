// Pushes a folder to the Hugging Face Hub (or HF_ENDPOINT) with Hugging Face's own library. The user's token (HF_TOKEN) is
// never sent to Graft.
import { readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CliError } from '../cli-error.js';

export interface HubTarget {
  /** Repository as OWNER/NAME. */
  readonly name: string;
  readonly isPrivate: boolean;
  readonly accessToken: string;
}

/** Checks the target of a push. @throws CliError if the name is invalid or HF_TOKEN is missing */
export function hubTarget(
  name: string,
  { private: isPrivate = false }: { readonly private?: boolean },
): HubTarget {
  if (!/^[\w.-]+\/[\w.-]+$/.test(name))
    throw new CliError(`--push-to: expected OWNER/NAME, got ${JSON.stringify(name)}`);
  const accessToken = process.env.HF_TOKEN;
  if (!accessToken)
    throw new CliError(
      'HF_TOKEN is not set; create a token with write access at https://huggingface.co/settings/tokens',
    );
  return { name, isPrivate, accessToken };
}

/** Pushes the folder in one commit, and creates the repository if it does not exist. Returns its URL. */
export async function pushToHub(
  folder: string,
  { name, isPrivate, accessToken }: HubTarget,
): Promise<string> {
  const hubUrl = (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  const repo = { type: 'model', name } as const;
  // Loaded here so that other commands start faster.
  const { createRepo, HubApiError, uploadFiles } = await import('@huggingface/hub');
  try {
    await createRepo({
      repo,
      accessToken,
      hubUrl,
      visibility: isPrivate ? 'private' : 'public',
    }).catch((error: unknown) => {
      if (error instanceof HubApiError && error.statusCode === 409) return; // The repository exists.
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
