const ORDER = ['adapter_model.safetensors', 'adapter_config.json', 'README.md'];

/** Weights, configuration, description: the order in which people look for them. */
export function resultOrder<File extends { readonly name: string }>(
  files: readonly File[],
): File[] {
  const rank = (file: File): number => ORDER.indexOf(file.name) >>> 0;
  return [...files].sort((a, b) => rank(a) - rank(b));
}
