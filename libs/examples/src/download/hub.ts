/** Whether the Hugging Face Hub responds within 3 s and has the repository. */
export async function hubHas(repository: string): Promise<boolean> {
  const endpoint = (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  try {
    const answer = await fetch(`${endpoint}/api/models/${repository}`, {
      signal: AbortSignal.timeout(3000),
    });
    await answer.body?.cancel();
    return answer.ok;
  } catch {
    return false; // The hub is unreachable.
  }
}
