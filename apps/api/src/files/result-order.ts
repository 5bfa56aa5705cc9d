const ORDER = ['adapter_model.safetensors', 'adapter_config.json', 'README.md'];

/** Sorts result files in the order in which users look for them: weights, configuration, description. */
export function resultOrder<File extends { readonly name: string }>(
  files: readonly File[],
): File[] {
  const rank = (file: File): number => ORDER.indexOf(file.name) >>> 0;
  return [...files].sort((a, b) => rank(a) - rank(b));
}
