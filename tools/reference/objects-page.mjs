// docs/reference/objects.md, from the schemas of the OpenAPI document.
import { cell, code, page, table } from './markdown.mjs';

/**
 * @param schemas component schemas of the OpenAPI document
 * @param options names of the options of a job, which docs/reference/jobs.md describes
 */
export function objectsPage(schemas, options) {
  const described = ({ properties }, without = []) =>
    table(
      ['field', 'meaning'],
      Object.entries(properties)
        .filter(([name, field]) => !without.includes(name) && textOf(field) !== '')
        .map(([name, field]) => [code(name), cell(textOf(field))]),
    );
  const textOf = (field) => {
    const [named] = [field, ...(field.anyOf ?? [])].flatMap(({ $ref }) => $ref ?? []);
    const schema = named ? schemas[named.split('/').at(-1)] : undefined;
    return (field.description ?? schema?.description ?? '').replace(/\.$/, '');
  };
  const { ModelObject, CheckpointObject, SweepObject, TrialObject, JobPreviewObject } = schemas;
  return page(
    'Objects',
    "Fields that Graft adds to OpenAI's objects, and its own objects. Each table lists the fields that need an explanation; the OpenAPI document at `/docs` has all fields with their types. Times are Unix seconds. Later versions may add fields: clients should ignore unknown ones.",
    '## `graft` of a job',
    'In addition to the [options of the request](jobs.md), with all defaults filled in:',
    described(schemas.JobGraft, options),
    '## `graft` of a file',
    described(schemas.FileReport),
    '## Data report',
    '`graft.data` of a job, and `training` and `validation` of a preview:',
    described(schemas.DataReport),
    '## Preview of a job',
    described(JobPreviewObject),
    '## `graft` of a model',
    described(ModelObject.properties.graft),
    '## `graft` of a checkpoint',
    described(CheckpointObject.properties.graft),
    '## Sweep',
    described(SweepObject),
    '## Trial of a sweep',
    described(TrialObject),
  );
}
