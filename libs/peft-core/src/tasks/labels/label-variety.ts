import { shown } from '../../data/json-scan.js';

/**
 * Returns a warning about labels that a model cannot learn to distinguish, one sentence, or null.
 * @param labels number of records with each label, for records with a single label
 * @param where name of the data in the message
 */
export function labelVariety(labels: ReadonlyMap<string, number>, where: string): string | null {
  const [only] = labels.keys();
  if (only === undefined) return null;
  const records = [...labels.values()].reduce((sum, count) => sum + count, 0);
  if (records === 1) return null;
  if (labels.size === 1)
    return `Every record of the ${where} has the label ${shown(only)}: there is nothing to distinguish.`;
  if (labels.size < records) return null;
  return `Each of the ${records.toLocaleString('en')} records of the ${where} has a label of its own: a model learns a label from several records.`;
}
