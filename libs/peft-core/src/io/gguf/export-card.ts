// README.md of exports for other programs: how to load them.

/**
 * Returns the README of a GGUF file, or of an adapter next to one. @param adapter null if it is merged into the weights
 */
export function ggufCard(baseName: string, file: string, adapter: string | null): string {
  const lora = adapter === null ? '' : ` --lora ${adapter}`;
  return [
    '---',
    `base_model: ${JSON.stringify(baseName)}`,
    'library_name: gguf',
    'tags:',
    '- "gguf"',
    '- "llama.cpp"',
    '---',
    '',
    ...(adapter === null
      ? [`${baseName.replaceAll('\n', ' ')}, fine-tuned with Graft, as one file.`]
      : [
          `A LoRA for ${baseName.replaceAll('\n', ' ')}, trained with Graft. It is loaded in addition to the base's GGUF file (here ${file}), which \`graft export\` writes.`,
        ]),
    '',
    'llama.cpp:',
    '',
    '```sh',
    `llama-cli -m ${file}${lora}`,
    `llama-server -m ${file}${lora} --jinja`,
    '```',
    '',
    'Ollama, with the Modelfile in this folder, whose template is the one used in training:',
    '',
    '```sh',
    'ollama create my-model -f Modelfile',
    'ollama run my-model',
    '```',
    '',
  ].join('\n');
}
