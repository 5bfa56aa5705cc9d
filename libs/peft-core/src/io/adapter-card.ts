// README.md of an adapter: the model card PEFT writes, as far as tools read it, and how to load it.
import { basename, dirname } from 'node:path';

/** The PEFT release whose files these are. */
export const PEFT_VERSION = '0.21.2';

/** @param ggufFile name of the base's .gguf file, where it is one */
export function adapterCard(peftType: string, baseName: string, ggufFile: string | null): string {
  const tags = [`base_model:adapter:${baseName}`, peftType.toLowerCase(), 'transformers'].sort();
  return [
    '---',
    `base_model: ${JSON.stringify(baseName)}`,
    'library_name: peft',
    'pipeline_tag: text-generation',
    'tags:',
    ...tags.map((tag) => `- ${JSON.stringify(tag)}`),
    '---',
    '',
    `An adapter (${peftType}) for ${baseName.replaceAll('\n', ' ')}, trained by Graft. Load it with PEFT:`,
    '',
    '```python',
    ...(ggufFile === null ? AUTO : fromGguf(baseName, ggufFile)),
    '```',
    '',
    '### Framework versions',
    '',
    `- PEFT ${PEFT_VERSION}`,
    '',
  ].join('\n');
}

const AUTO = [
  'from peft import AutoPeftModelForCausalLM',
  'model = AutoPeftModelForCausalLM.from_pretrained("PATH_OF_THIS_FOLDER")',
];

/** transformers takes a folder or a hub's id, and the file in it apart; PEFT's config has no place for that. */
function fromGguf(baseName: string, ggufFile: string): string[] {
  const isFile = basename(baseName) === ggufFile;
  const place = JSON.stringify(isFile ? dirname(baseName) : baseName);
  return [
    'from peft import PeftModel',
    'from transformers import AutoModelForCausalLM',
    `base = AutoModelForCausalLM.from_pretrained(${place}, gguf_file=${JSON.stringify(ggufFile)})`,
    'model = PeftModel.from_pretrained(base, "PATH_OF_THIS_FOLDER")',
  ];
}
