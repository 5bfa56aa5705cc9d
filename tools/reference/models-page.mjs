// docs/reference/models.md and jobs.md, from the catalog.
import { cell, code, fields, page, table } from './markdown.mjs';

export const modelsPage = ({ families, quantizers }) =>
  page(
    'Models',
    'Model families that Graft trains and serves. A base model comes from the Hugging Face Hub (`hub:OWNER/NAME`), a folder (`dir:PATH`) or a GGUF file. The `model_type` of its config.json must be listed.',
    table(
      ['family', 'input', 'architecture', '`model_type`'],
      families.map((one) => [
        cell(one.title),
        one.inputs === 'tokens' ? 'text' : one.inputs,
        one.stacks.replaceAll('_', '–'),
        one.model_types.map(code).join(', '),
      ]),
    ),
    '## Quantization',
    'Precision of the base model in memory (`graft.quantization`):',
    table(
      ['value', 'name', 'meaning'],
      quantizers.map((one) => [code(one.name), cell(one.title), cell(one.summary)]),
    ),
  );

export const jobsPage = ({ graft_schema: schema }) =>
  page(
    'Job fields',
    "Fields of `graft` in `POST /v1/fine_tuning/jobs`. OpenAI's own fields (`model`, `training_file`, `validation_file`, `method`, `suffix`, `seed`, `metadata`, `integrations`) work as OpenAI documents them. `peft` is a [method](methods.md). The CLI sets any field with `--set graft.NAME=VALUE`.",
    fields(schema),
  );
